package main

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTransfer(t *testing.T) {
	s := newServer(t)
	requireProblem(t, s.visitor().post("/transfer", "amount", "1", "to", "bob"), 401, "login_required")
	alice := s.visitor()
	id := alice.login("alice")

	res := alice.post("/transfer", "amount", "12.50", "to", "bob")
	require.Equal(t, 200, res.Code, res.Body)
	require.Equal(t, 200, alice.postJSON("/transfer", `{"amount": 7.5, "to": "bob"}`).Code)
	require.Equal(t, 200, alice.postJSON("/transfer", `{"amount": "980", "to": "bob"}`).Code)
	require.Equal(t, "0.00", s.app.bank.balance("alice").String())
	require.Equal(t, "2000.00", s.app.bank.balance("bob").String())

	events := s.events("transfer", 3)
	require.Equal(t, res.JSON["transaction"], events[0]["transaction"])
	require.Equal(t, id, events[0]["session"])
	require.Equal(t, "POST /transfer", events[0]["route"])
	require.Equal(t, map[string]any{"amount": "12.50", "to": "bob"}, events[0]["details"])
}

func TestTransferRefusesWhatMakesNoSense(t *testing.T) {
	s := newServer(t)
	alice := s.visitor()
	alice.login("alice")
	for _, tt := range []struct {
		amount, to string
		status     int
		code       string
	}{
		{"", "bob", 400, "missing_field"},
		{"1", "", 400, "missing_field"},
		{"ten", "bob", 400, "invalid_amount"},
		{"1.234", "bob", 400, "invalid_amount"},
		{"1e3", "bob", 400, "invalid_amount"},
		{"9999999999999", "bob", 400, "invalid_amount"},
		{"0", "bob", 422, "amount_out_of_range"},
		{"-5", "bob", 422, "amount_out_of_range"},
		{"1000000.01", "bob", 422, "amount_out_of_range"},
		{"1000.01", "bob", 422, "insufficient_funds"},
		{"1", "alice", 422, "same_account"},
		{"1", "mallory", 422, "unknown_recipient"},
	} {
		requireProblem(t, alice.post("/transfer", "amount", tt.amount, "to", tt.to), tt.status, tt.code)
	}
	require.Equal(t, startBalance, s.app.bank.balance("alice"))
	require.Equal(t, startBalance, s.app.bank.balance("bob"))
}

func TestNothingIsSpentTwice(t *testing.T) {
	s := newServer(t)
	alice := s.visitor()
	alice.login("alice")
	var wg sync.WaitGroup
	codes := make([]int, 8)
	for i := range codes {
		v := alice.copy()
		wg.Go(func() { codes[i] = v.post("/transfer", "amount", "300", "to", "bob").Code })
	}
	wg.Wait()
	paid := 0
	for _, code := range codes {
		if code == 200 {
			paid++
		}
	}
	require.Equal(t, 3, paid, codes)
	require.Equal(t, "100.00", s.app.bank.balance("alice").String())
	require.Equal(t, "1900.00", s.app.bank.balance("bob").String())
}
