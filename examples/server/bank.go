package main

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/scsguard/scsguard"
)

// cents are an amount of money.
type cents int64

func (c cents) String() string { return fmt.Sprintf("%d.%02d", c/100, c%100) }

const startBalance, maxTransfer = cents(1000_00), cents(1_000_000_00)

// bank keeps the accounts in memory. It is safe for concurrent use.
type bank struct {
	mu       sync.Mutex
	balances map[string]cents
}

func newBank(users []string) *bank {
	b := &bank{balances: make(map[string]cents)}
	for _, u := range users {
		b.balances[u] = startBalance
	}
	return b
}

func (b *bank) balance(user string) cents {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.balances[user]
}

// add changes a balance, unless it would become negative.
func (b *bank) add(user string, amount cents) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.balances[user]+amount < 0 {
		return false
	}
	b.balances[user] += amount
	return true
}

var amountFormat = regexp.MustCompile(`^-?[0-9]{1,12}(\.[0-9]{1,2})?$`)

// parseAmount reads an amount of money: what is no number is 400, a number that
// cannot be transferred 422.
func parseAmount(s string) (cents, error) {
	if !amountFormat.MatchString(s) {
		return 0, bad("invalid_amount", "The amount is a number with at most two decimals, such as 12.50.")
	}
	whole, fraction, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole+(fraction + "00")[:2], 10, 64)
	if err != nil || n <= 0 || cents(n) > maxTransfer {
		return 0, cannot("amount_out_of_range", "The amount is more than 0 and at most "+maxTransfer.String()+".")
	}
	return cents(n), nil
}

// transfer answers POST /transfer: amount, to. The transfer is in the trail, with
// session and transaction, before it takes place, and if it cannot be written
// there it does not. Meanwhile the money belongs to nobody, so that it is not
// spent twice and no lock is held.
func (a *app) transfer(w http.ResponseWriter, r *http.Request) error {
	in, err := read(w, r, "amount", "to")
	if err != nil {
		return err
	}
	amount, err := parseAmount(in["amount"])
	if err != nil {
		return err
	}
	s, _ := a.guard.Current(r.Context())
	from, to, transaction := s.User, in["to"], rand.Text()
	switch {
	case to == from:
		return cannot("same_account", "You cannot pay yourself.")
	case !slices.Contains(demoUsers, to):
		return cannot("unknown_recipient", "There is no such recipient.")
	case !a.bank.add(from, -amount):
		return cannot("insufficient_funds", "You have not got that much money.")
	}
	details := map[string]string{"amount": amount.String(), "to": to}
	if err := a.guard.Record(r.Context(), scsguard.Event{Kind: "transfer", Transaction: transaction, Details: details}); err != nil {
		a.bank.add(from, amount)
		return err
	}
	a.bank.add(to, amount)
	return a.done(w, r, "/", fmt.Sprintf("You have paid %s to %s.", amount, to), map[string]string{"transaction": transaction})
}
