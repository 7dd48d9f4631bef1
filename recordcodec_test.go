package scsguard

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestARecordStaysAsItWasIfBytesCannotBeRead(t *testing.T) {
	full := Record{Session: "S", User: "alice", Key: "K", State: StateLive, Created: time.Unix(1, 2).UTC(), Methods: []string{"pwd"}, Extra: []byte{100, 1, 7}}
	good, err := full.MarshalBinary()
	require.NoError(t, err)
	for _, was := range []Record{{}, {Session: "before", User: "bob", State: StateEnded, Warnings: []Warning{{Session: "W"}}}} {
		for end := range len(good) {
			rec := was
			if rec.UnmarshalBinary(good[:end]) != nil {
				require.Equal(t, was, rec, "cut off at %d", end)
			}
		}
		rec := was
		require.Error(t, rec.UnmarshalBinary([]byte("\x01"+strings.Repeat("\x01\x01x", 2))), "the same field twice")
		require.Equal(t, was, rec)
		require.NoError(t, rec.UnmarshalBinary(good))
		require.Equal(t, full, rec, "nothing of the record before is left")
	}
}
