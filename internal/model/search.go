package model

import (
	"hash/maphash"
	"slices"
)

// A move names one step out of a state: the process that takes it, and which of
// the ways open to it.
type move struct{ process, way uint8 }

// explore visits every state that can be reached from start, the nearest first,
// and stops at the first one that check refuses. It returns the number of
// states seen, the shortest way to the refused one, and what check said.
//
// Whole states are kept for two levels only. Of those seen, a hash of 64 bits is
// enough: that any two of thirty million share one has a probability of 25 in a
// million, and the next run hashes differently. The way needs no more than a
// move for each state, because who walks it has the states again.
func explore[S comparable](start S, next func(S, func(move, S)), check func(*S) error) (states int, way []move, err error) {
	type arrival struct {
		from int32
		by   move
	}
	type vertex struct {
		number int32
		state  S
	}
	seed := maphash.MakeSeed()
	seen := make(map[uint64]struct{})
	var arrivals []arrival
	var level, following []vertex
	arrive := func(from int32, by move, s S) {
		if err != nil {
			return
		}
		h := maphash.Comparable(seed, s)
		if _, known := seen[h]; known {
			return
		}
		seen[h] = struct{}{}
		following = append(following, vertex{int32(len(arrivals)), s})
		arrivals = append(arrivals, arrival{from, by})
		err = check(&s)
	}
	arrive(-1, move{}, start)
	for len(following) > 0 && err == nil {
		level, following = following, level[:0]
		for _, v := range level {
			next(v.state, func(by move, s S) { arrive(v.number, by, s) })
			if err != nil {
				break
			}
		}
	}
	if err == nil {
		return len(arrivals), nil, nil
	}
	for a := arrivals[len(arrivals)-1]; a.from >= 0; a = arrivals[a.from] {
		way = append(way, a.by)
	}
	slices.Reverse(way)
	return len(arrivals), way, err
}
