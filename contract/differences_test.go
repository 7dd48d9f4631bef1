package contract

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// A difference is something that an application can notice when the guard takes
// the place of LoadAndSave. docs/differences.md tells of it.
type difference struct {
	name   string // its heading there
	reason string // a sentence there
}

// differences is the whole list.
var differences []*difference

func listed(name, reason string) *difference {
	d := &difference{name: name, reason: reason}
	differences = append(differences, d)
	return d
}

// What is stricter.
var (
	strictCookie = listed("A weak cookie is refused", "A token that travels in the clear, that a script can read, or that a neighbouring host can plant makes every other protection worthless.")
	alwaysIdle   = listed("A login always has an idle timeout", "A session that nobody watches is the one that is taken over.")
	touchEarly   = listed("An idle timeout may come one Touch interval early", "Writing down every single request would cost a write for each, and a session must never live longer than was promised.")
	mergedByHand = listed("A login is not merged into a session by hand", "Within Protect such a session gets a new token; by hand nobody can be told of one, and the old one may have been planted.")
	onlyEarlier  = listed("The deadline of a login only moves earlier", "An absolute timeout that any call can put off is none.")
	otherUser    = listed("Two users never share session data", "What one user has left in a browser is none of the next one's business.")
	mergedLogin  = listed("A login that is merged into a session gives it a new token", "The token of the session that it comes to may have been planted there by somebody who waits for just this.")
	hijackLogin  = listed("A connection is not handed over after a login", "The cookie cannot go out on it, so the login would take a place and be of use to nobody.")
	pagesOfUsers = listed("Pages of users are not stored", "The back button must not show after the logout what was shown before it.")
	ownCookie    = listed("Only the guard writes the session cookie", "A cookie that was written earlier in the request may carry a token that is no longer the right one.")
	justReplaced = listed("An answer to a token that was just replaced sets no cookie", "The browser has a newer cookie already or is about to get it, and another one would log the user out.")
	keyLogout    = listed("A user key that goes is a logout", "With Config.UserID the application's own user key says who is logged in, and nobody is when it is gone.")
)

// What works that did not.
var (
	iterateHashed = listed("Iterate reaches sessions with HashTokenInStore, too", "What is found in the store is a hash already, and the session manager would hash it once more and miss the session.")
	flushFirst    = listed("A flush brings the cookie", "The header goes out with the first flush, so that is when the session has to be saved.")
	putLate       = listed("What is put late is kept", "A handler that streams has something to remember after its first byte, too, and early hints are not yet the answer.")
	renewLate     = listed("RenewToken after the first byte changes nothing", "No cookie can tell the browser of the new token, so the session would be lost to its owner.")
	hangsUp       = listed("A client that hangs up loses nothing", "Who closes the window during a change of token would find himself logged out.")
	unreadable    = listed("Data that cannot be decoded ends its session", "Its owner would get an error page until the data expires, and one such session would end every iteration over all.")
	onlyTheError  = listed("After a failed commit only the error goes out", "A page that tells of a success behind the page that tells of the failure is worse than either.")
	deletesLater  = listed("A deletion that fails is made up for", "The record says that the session is over or has moved, so what is left in the store is of use to nobody.")
	down503       = listed("What cannot be reached is answered with 503", "Nobody who is logged in may be taken for anonymous because a store does not answer, and a client that is told so can try again.")
)

// What is done otherwise.
var (
	idleCookie    = listed("The cookie of a login lasts until its absolute deadline", "Activity is recorded where the session is kept and not in the browser, so no response has to send the cookie again.")
	readsOnly     = listed("Reading a session writes nothing", "With an idle timeout every request would write the whole session back, and so undo what another request has done meanwhile.")
	notWritten    = listed("What was not changed is not written", "Nothing that this request has done is in it, and another request may have changed the session meanwhile.")
	idleByHand    = listed("Commit returns the deadline, not the idle timeout", "The guard enforces the idle timeout itself and switches that of the session manager off.")
	twoSettings   = listed("New changes two settings of the session manager", "The guard stands around the store, so that no path gets past it, and keeps the idle timeout itself.")
	guestByHand   = listed("By hand, only a commit prolongs the session of a guest", "His session has no record, and a lookup that wrote its data back could undo what another request has done meanwhile.")
	namesOfItsOwn = listed("Keys has names of the guard", "The guard has to tell data of a login whose record is lost from data of a visitor, so it marks it.")
)

var heading = regexp.MustCompile(`(?m)^### (.+)$`)

// The list for people and the list for the tests are one.
func TestTheDocumentListsTheseDifferencesAndNoOthers(t *testing.T) {
	text, err := os.ReadFile("../docs/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := heading.FindAllStringSubmatchIndex(string(text), -1)
	documented := make(map[string]string)
	for i, at := range sections {
		end := len(text)
		if i+1 < len(sections) {
			end = sections[i+1][0]
		}
		name := string(text[at[2]:at[3]])
		if _, twice := documented[name]; twice {
			t.Errorf("%q is described twice", name)
		}
		documented[name] = strings.Join(strings.Fields(string(text[at[3]:end])), " ")
	}
	shown := make(map[*difference]bool)
	for _, p := range promises() {
		for _, b := range p.but {
			shown[b.listed] = true
		}
	}
	for _, d := range differences {
		switch section, ok := documented[d.name]; {
		case !ok:
			t.Errorf("docs/differences.md does not tell of %q", d.name)
		case !strings.Contains(section, d.reason):
			t.Errorf("docs/differences.md does not say why: %q: %s", d.name, d.reason)
		}
		if !shown[d] {
			t.Errorf("no promise shows %q", d.name)
		}
		delete(documented, d.name)
	}
	for name := range documented {
		t.Errorf("docs/differences.md tells of %q, which no promise shows", name)
	}
}
