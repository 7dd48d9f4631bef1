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
	var gone retracted
	d, err := t.read(ctx, func() query {
		found, gone = nil, make(retracted)
		return query{want: func(f *fields) bool { return string(plain(f.transaction)) == id }, visit: func(e *Event) error {
			if e.Own {
				return nil
			}
			if e.retracts != "" {
				gone.add(e)
				return nil
			}
			keep := *e
			keep.Raw = slices.Clone(e.Raw)
			found = append(found, keep)
			return tooMany(len(found))
		}, kept: func() int { return len(found) }}
	})
	if err != nil {
		return nil, Answer{}, err
	}
	if len(found) == 0 {
		a := answer(No, nil, "the trail has no transaction %q", id).doubted(d.within(d.first, d.last))
		return nil, t.settled(a), nil
	}
	slices.SortFunc(found, byTime)
	lives, d, err := t.around(ctx, found)
	if err != nil {
		return nil, Answer{}, err
	}
	var list []Transaction
	sum := Answer{Verdict: Yes}
	for _, e := range found {
		x := d.transaction(e, gone.has(&e), lives)
		list = append(list, x)
		if len(list) == 1 || weaker(x.Life.Verdict, sum.Verdict) {
			sum = x.Life
		}
	}
	return list, t.settled(sum), nil
}

// around reads the sessions of events, and the other ones of their users.
func (t *Trail) around(ctx context.Context, events []Event) ([]*History, *doubts, error) {
	users, sessions := make(map[string]bool), make(map[string]bool)
	for i := range events {
		if e := &events[i]; e.Session != "" {
			users[e.User], sessions[e.Session] = e.User != "", true
		}
	}
	return t.histories(ctx, func(f *fields) bool { return users[string(plain(f.user))] || sessions[string(plain(f.session))] })
}

// weaker reports whether an answer takes precedence where all have to be yes.
func weaker(a, b Verdict) bool {
	rank := func(v Verdict) int { return map[Verdict]int{No: 0, Unknown: 1, Yes: 2}[v] }
	return rank(a) < rank(b)
}

// transaction says whether the session was alive, and which others of its user.
func (d *doubts) transaction(e Event, retracted bool, all []*History) Transaction {
	x := Transaction{Event: e, Retracted: retracted}
	self := []Ref{e.Ref}
	switch {
	case retracted:
		x.Life = answer(No, self, "the record was retracted: the transaction did not take place")
		return x
	case !e.succeeded():
		x.Life = answer(No, self, "the record says that the transaction failed")
		return x
	case e.Session == "":
		x.Life = answer(No, self, "it was recorded at %s, outside of any session", stamp(e.Time))
		return x
	}
	for _, h := range all {
		if h.ID != e.Session && h.User != e.User {
			continue
		}
		a := d.active(h, e.Time)
		switch {
		case h.ID == e.Session:
			x.History, x.Life = h, a
			x.Life.Rests = append(self, a.Rests...)
		case a.Verdict != No && h.User != "":
			x.Others = append(x.Others, Life{h, a})
		}
	}
	return x
}
