package scsguard

import "strings"

// deviceOf returns what of a user agent stays the same while a person goes on
// using one browser on one machine: its family and its platform, as in "firefox
// on linux". Versions are left out, since browsers update themselves. A client
// that is no known browser is what it says of itself, without versions.
//
// The header says what the client likes. It tells a token that was carried to
// another machine from one that was not only as long as the thief does not care;
// it costs an honest visitor nothing.
func deviceOf(userAgent string) string {
	family := firstIn(families, userAgent)
	if family == "" {
		family = withoutVersions(userAgent)
	}
	return family + " on " + firstIn(platforms, userAgent)
}

// A sign is a part of a user agent that gives away what it is.
type sign struct{ part, name string }

// families are browsers by their signs. The order matters: browsers name those
// they descend from as well.
var families = []sign{
	{"; wv)", "webview"},
	{"EdgiOS/", "edge"}, {"EdgA/", "edge"}, {"Edg/", "edge"}, {"Edge/", "edge"},
	{"OPR/", "opera"}, {"OPiOS/", "opera"}, {"OPT/", "opera"}, {"Opera", "opera"},
	{"SamsungBrowser/", "samsung"},
	{"Vivaldi/", "vivaldi"},
	{"YaBrowser/", "yandex"},
	{"UCBrowser/", "uc"},
	{"DuckDuckGo/", "duckduckgo"}, {"Ddg/", "duckduckgo"},
	{"Electron/", "electron"},
	{"FxiOS/", "firefox"}, {"Firefox/", "firefox"},
	{"HeadlessChrome/", "headless chrome"},
	{"CriOS/", "chrome"}, {"Chrome/", "chrome"}, {"Chromium/", "chrome"},
	{"MSIE ", "internet explorer"}, {"Trident/", "internet explorer"},
	{"Version/", "safari"},
}

// platforms are systems by their signs. An iPad that asks for desktop pages says
// that it is a Mac, and does so always.
var platforms = []sign{
	{"Windows", "windows"},
	{"iPhone", "iphone"}, {"iPad", "ipad"}, {"iPod", "ipod"},
	{"Android", "android"},
	{"CrOS", "chromeos"},
	{"Macintosh", "mac"}, {"Darwin", "mac"},
	{"Linux", "linux"}, {"X11", "unix"},
}

func firstIn(signs []sign, userAgent string) string {
	for _, s := range signs {
		if strings.Contains(userAgent, s.part) {
			return s.name
		}
	}
	return ""
}

// withoutVersions drops the versions of products (RFC 9110 10.1.5), and digits
// and what stands between them elsewhere.
func withoutVersions(s string) string {
	version := false
	return strings.Map(func(r rune) rune {
		version = r == '/' || version && !strings.ContainsRune(" ;()", r)
		if version && r != '/' || '0' <= r && r <= '9' || r == '.' || r == '_' {
			return -1
		}
		return r
	}, s)
}
