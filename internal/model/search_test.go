package model

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// Two counters that go up to 3, one step at a time: a grid of 16 states.
func grid(s [2]uint8, visit func(move, [2]uint8)) {
	for i := range s {
		if to := s; s[i] < 3 {
			to[i]++
			visit(move{process: uint8(i)}, to)
		}
	}
}

func TestSearchVisitsEveryStateOnce(t *testing.T) {
	visits := make(map[[2]uint8]int)
	states, way, err := explore([2]uint8{}, grid, func(s *[2]uint8) error {
		visits[*s]++
		return nil
	})
	require.NoError(t, err)
	require.Empty(t, way)
	require.Equal(t, 16, states)
	require.Len(t, visits, 16)
	for s, n := range visits {
		require.Equal(t, 1, n, "%v", s)
	}
}

func TestSearchReturnsAShortestWay(t *testing.T) {
	refused := errors.New("refused")
	_, way, err := explore([2]uint8{}, grid, func(s *[2]uint8) error {
		if s[0] >= 2 && s[1] >= 1 {
			return refused
		}
		return nil
	})
	require.ErrorIs(t, err, refused)
	require.Len(t, way, 3)
	var s [2]uint8
	for _, m := range way {
		s[m.process]++
	}
	require.Equal(t, [2]uint8{2, 1}, s)
}

func TestSearchChecksTheStartToo(t *testing.T) {
	refused := errors.New("refused")
	states, way, err := explore([2]uint8{}, grid, func(*[2]uint8) error { return refused })
	require.ErrorIs(t, err, refused)
	require.Empty(t, way)
	require.Equal(t, 1, states)
}
