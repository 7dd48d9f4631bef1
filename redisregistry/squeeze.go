package redisregistry

import (
	"encoding/hex"
	"strings"
)

// Half of a record is the user agent of a browser and the fingerprint of its requests,
// and the first stands in the user's index a second time. Both are made of the same few
// pieces, so they are kept in a fifth of the space: a byte below 0x80 is itself, one from
// 0x80 on a phrase, one from 0xC0 on so many bytes that follow and were written in hex,
// and 0xFF says that the next byte is itself.

// phrases are what the user agents of browsers are made of, those that begin alike with
// the longest first. They are part of the format: only add some, at the end, and no more
// than there is room for.
var phrases = [...]string{
	"Mozilla/5.0 (",
	"Windows NT 10.0; Win64; x64",
	"Macintosh; Intel Mac OS X 10_15_7",
	"Macintosh; Intel Mac OS X 10.15",
	"X11; Linux x86_64",
	"Linux; Android 10; K",
	"iPhone; CPU iPhone OS ",
	" like Mac OS X",
	") AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
	") AppleWebKit/605.1.15 (KHTML, like Gecko) Version/",
	") Gecko/20100101 Firefox/",
	".0.0.0",
	" Mobile/15E148",
	" Mobile",
	" Safari/537.36",
	" Safari/605.1.15",
	" Safari/604.1",
	" Edg/",
	"; rv:",
}

const (
	firstPhrase = 0x80
	firstHex    = 0xC0
	itself      = 0xFF

	leastHex = 4                     // bytes: fewer are not worth it
	mostHex  = itself - firstHex - 1 // bytes behind one code
)

// squeezed is a text as it is kept.
func squeezed(s string) string {
	var b strings.Builder
	for s != "" {
		if n := phraseOf(s); n >= 0 {
			b.WriteByte(byte(firstPhrase + n))
			s = s[len(phrases[n]):]
		} else if n := hexBytes(s); n >= leastHex {
			raw, _ := hex.DecodeString(s[:2*n]) // it was looked at
			b.WriteByte(byte(firstHex + n))
			b.Write(raw)
			s = s[2*n:]
		} else {
			if s[0] >= firstPhrase {
				b.WriteByte(itself)
			}
			b.WriteByte(s[0])
			s = s[1:]
		}
	}
	return b.String()
}

// phraseOf is the phrase that s begins with, or -1.
func phraseOf(s string) int {
	for i, phrase := range phrases {
		if strings.HasPrefix(s, phrase) {
			return i
		}
	}
	return -1
}

// hexBytes is how many bytes s begins with in hex, as many as one code can say.
func hexBytes(s string) int {
	n := 0
	for n < len(s) && n < 2*mostHex && ('0' <= s[n] && s[n] <= '9' || 'a' <= s[n] && s[n] <= 'f') {
		n++
	}
	return n / 2
}

// unsqueezed is what squeezed was given. A phrase of a later version stays a byte: it is
// shown, and decides nothing. Fingerprints have none.
func unsqueezed(s string) string {
	plain := 0
	for plain < len(s) && s[plain] < firstPhrase {
		plain++
	}
	if plain == len(s) {
		return s
	}
	var room [256]byte // of most there is no more, so that only the text itself is made
	b := room[:0]
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < firstPhrase:
			b = append(b, c)
		case c == itself:
			if i++; i < len(s) {
				b = append(b, s[i])
			}
		case c >= firstHex:
			n := min(int(c-firstHex), len(s)-i-1)
			b = hex.AppendEncode(b, []byte(s[i+1:i+1+n]))
			i += n
		case int(c-firstPhrase) < len(phrases):
			b = append(b, phrases[c-firstPhrase]...)
		default:
			b = append(b, c)
		}
	}
	return string(b)
}
