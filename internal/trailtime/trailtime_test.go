package trailtime

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func FuzzParseSaysWhatTheStandardLibrarySays(f *testing.F) {
	for _, s := range []string{"2026-02-28T23:59:59.999999Z", "2024-02-29T00:00:00.000000Z", "2026-02-29T00:00:00.000000Z", "2026-13-01T00:00:00.000000Z",
		"0000-01-01T00:00:00.000000Z", "2026-04-31T00:00:00.000000Z", "2026-01-01T24:00:00.000000Z", "2026-01-01T00:00:60.000000Z", "2026-01-01T00:00:00,000000Z", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := Parse([]byte(s))
		want, err := time.Parse(Layout, s)
		if ok {
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, s, got.Format(Layout))
		} else if err == nil {
			require.NotEqual(t, s, want.Format(Layout), "it is of that form")
		}
	})
}
