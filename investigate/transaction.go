package investigate

import (
	"context"
	"slices"
)

// A Transaction is a record that an application made of a piece of business.
type Transaction struct {
	Event
	Retracted bool
	Life      Answer   // whether its session was alive then
	History   *History // of its session, nil if there is none
	Others    []Life   // the other sessions of the user that were alive, or may have been
}

// Transaction looks up what the application recorded under a name of its own, and
// answers whether the session it was done in was alive then.
func (t *Trail) Transaction(ctx context.Context, id string) ([]Transaction, Answer, error) {
	var found []Event
	retracted := make(map[string]bool)
	d, err := t.read(ctx, query{want: func(f *fields) bool { return string(plain(f.transaction)) == id }, visit: func(e *Event) error {
		if e.Own {
			return nil
		}
		if e.retracts != "" {
			retracted[e.retracts] = true
			return nil
		}
		keep := *e
		keep.Raw = slices.Clone(e.Raw)
		found = append(found, keep)
		return nil
	}})
	if err != nil {
		return nil, Answer{}, err
	}
	if len(found) == 0 {
		a := answer(No, nil, "the trail has no transaction %q", id).doubted(d.within(d.first, d.last))
		return nil, t.settled(a), nil
	}
	var list []Transaction
	sum := Answer{Verdict: Yes}
	for _, e := range found {
		x, err := t.transaction(ctx, e, retracted[e.ID])
		if err != nil {
			return nil, Answer{}, err
		}
		list = append(list, x)
		if len(list) == 1 || weaker(x.Life.Verdict, sum.Verdict) {
			sum = x.Life
		}
	}
	return list, t.settled(sum), nil
}

// weaker reports whether an answer takes precedence where all have to be yes.
func weaker(a, b Verdict) bool {
	rank := func(v Verdict) int { return map[Verdict]int{No: 0, Unknown: 1, Yes: 2}[v] }
	return rank(a) < rank(b)
}

func (t *Trail) transaction(ctx context.Context, e Event, retracted bool) (Transaction, error) {
	x := Transaction{Event: e, Retracted: retracted}
	self := []Ref{e.Ref}
	switch {
	case retracted:
		x.Life = answer(No, self, "the record was retracted: the transaction did not take place")
		return x, nil
	case !e.succeeded():
		x.Life = answer(No, self, "the record says that the transaction failed")
		return x, nil
	case e.Session == "":
		x.Life = answer(No, self, "it was recorded at %s, outside of any session", stamp(e.Time))
		return x, nil
	}
	all, d, err := t.histories(ctx, func(f *fields) bool {
		return string(plain(f.user)) == e.User || string(plain(f.session)) == e.Session
	})
	if err != nil {
		return x, err
	}
	for _, h := range all {
		a := d.active(h, e.Time)
		switch {
		case h.ID == e.Session:
			x.History, x.Life = h, a
			x.Life.Rests = append(self, a.Rests...)
		case a.Verdict != No && h.User == e.User:
			x.Others = append(x.Others, Life{h, a})
		}
	}
	return x, nil
}
