package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func TestAU2_ASVS16_1_1_EventTypesListsEveryKind(t *testing.T) {
	r := cli("event-types")
	require.Equal(t, result{0, r.stdout, ""}, r)
	var kinds []scsguard.EventKind
	for _, kind := range strings.Fields(r.stdout) {
		kinds = append(kinds, scsguard.EventKind(kind))
	}
	require.Equal(t, scsguard.EventKinds(), kinds)
}
