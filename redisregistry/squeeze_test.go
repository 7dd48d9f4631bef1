package redisregistry

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatIsSqueezedComesBackWhole(t *testing.T) {
	require.LessOrEqual(t, firstPhrase+len(phrases), firstHex, "there is no room for so many phrases")
	texts := []string{"", "curl/8.0", "\x00\x7f\x80\xbf\xc0\xd0\xfe\xff", "Bücher", strings.Repeat("0123456789abcdef", 20), "DEADBEEFDEADBEEF",
		"abcdef", "deadbeef0", strings.Repeat("é", 300), "Mozilla/5.0 (Mozilla/5.0 (", " Mobile Safari/537.36"}
	texts = append(texts, phrases[:]...)
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		var b strings.Builder
		for range r.IntN(12) {
			switch r.IntN(3) {
			case 0:
				b.WriteString(phrases[r.IntN(len(phrases))])
			case 1:
				b.WriteByte(byte(r.UintN(256)))
			default:
				b.WriteString("0123456789abcdef"[r.IntN(16):])
			}
		}
		texts = append(texts, b.String())
	}
	for _, text := range texts {
		require.Equal(t, text, unsqueezed(squeezed(text)), "%q", text)
	}
}

func TestAPhraseIsFoundBehindOneThatBeginsAlike(t *testing.T) {
	for i, phrase := range phrases {
		require.Equal(t, i, phraseOf(phrase), phrase)
	}
}

func TestABrowserTakesAFifthOfTheSpace(t *testing.T) {
	for _, agent := range []string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/127.0.0.0 Safari/537.36",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/127.0.0.0 Safari/537.36 Edg/127.0.0.0",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:128.0) Gecko/20100101 Firefox/128.0",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/127.0.0.0 Mobile Safari/537.36",
	} {
		require.LessOrEqual(t, len(squeezed(agent)), len(agent)/5, agent)
	}
	fingerprint := strings.Repeat("0123456789abcdef", 2) + "." + strings.Repeat("fedcba9876543210", 2)
	require.Equal(t, 2*17+1, len(squeezed(fingerprint)))
}

// What nobody has written is read all the same.
func TestWhatCannotHaveBeenSqueezedIsNoReasonToStop(t *testing.T) {
	for _, s := range []string{"\xff", "a\xd0", "\xd0\x01\x02", "\xbf", "\x93\xbe", "\xfe"} {
		require.NotPanics(t, func() { unsqueezed(s) }, "%q", s)
	}
	require.Equal(t, "a\xbfb", unsqueezed("a\xbfb"), "a phrase of a later version")
}
