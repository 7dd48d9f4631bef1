package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/scsguard/scsguard/auditlog"
	"github.com/scsguard/scsguard/investigate"
)

// queryTrail is a sealed log of who asked what (PCI DSS 4.0.1 10.2.1.3). It has
// its own key: whoever investigates must not have the server's.
type queryTrail struct {
	dir, keys string
}

func (q *queryTrail) declare(fs *flag.FlagSet) {
	fs.StringVar(&q.dir, "query-trail", "", "record the query in a sealed log of its own in this `directory`, before it is answered")
	fs.StringVar(&q.keys, "query-keys", "", "the `directory` of the keys of that log, made if there are none\n(default: that of --query-trail with -keys at its end)")
}

// record seals what was asked of the trails in dirs and what was answered.
func (q *queryTrail) record(line []string, a *investigate.Answer, reports []*auditlog.Report, dirs []string) error {
	if q.dir == "" {
		return nil
	}
	if q.keys == "" {
		q.keys = strings.TrimRight(q.dir, `/\`) + "-keys"
	}
	root, name, _, err := auditlog.KeyFiles(q.keys, "queries")
	if err != nil {
		return err
	}
	log, err := auditlog.Open(auditlog.Config{Dir: q.dir, Root: root, RootName: name})
	if err != nil {
		return err
	}
	event := struct {
		ID      string            `json:"id"`
		Time    string            `json:"time"`
		Event   string            `json:"event"`
		Outcome string            `json:"outcome"`
		User    string            `json:"user"`
		Details map[string]string `json:"details"`
	}{rand.Text(), stamp(time.Now()), "audit.queried", "success", whoAsks(), map[string]string{
		"query": strings.Join(line, " "), "answer": a.Verdict.String(), "why": a.Why,
	}}
	for i, rep := range reports {
		event.Details["trail "+strconv.Itoa(i+1)] = dirs[i] + ": " + (&finding{rep}).integrity() + ", " + (&finding{rep}).completeness()
	}
	b, err := json.Marshal(event)
	if err == nil {
		err = log.Append(context.Background(), [][]byte{b})
	}
	if closed := log.Close(); err == nil {
		err = closed
	}
	return err
}

func whoAsks() string {
	u, err := user.Current()
	if err != nil {
		return "unknown"
	}
	return u.Username
}
