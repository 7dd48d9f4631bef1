// The pages work without this script. It asks how long the session still has,
// which does not count as activity, and offers to go on a minute before its end.
"use strict";

// A page from the browser's own memory may belong to a session that is over.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

const box = document.getElementById("countdown");
let end = 0; // in milliseconds of performance.now

async function ask() {
	const answer = await fetch("/session", { headers: { Accept: "application/json" } }).catch(() => null);
	if (!answer || !answer.ok) return; // asked again soon
	const status = await answer.json();
	if (!status.authenticated) return location.assign("/"); // which says why
	end = performance.now() + 1000 * Math.min(status.idle_expires_in, status.absolute_expires_in);
	box.querySelector("form").hidden = status.absolute_expires_in <= status.idle_expires_in; // it would not help
	show();
}

function show() {
	const left = Math.max(0, Math.ceil((end - performance.now()) / 1000));
	box.hidden = left > 60;
	document.getElementById("left").textContent = left === 1 ? "1 second" : left + " seconds";
	return left;
}

if (box) {
	ask();
	setInterval(ask, 15000);
	setInterval(() => { if (show() === 0) ask(); }, 1000);
	addEventListener("focus", ask);
}
