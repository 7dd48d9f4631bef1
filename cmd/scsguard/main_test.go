package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/scsguard/scsguard"
)

func TestEventTypesListsEveryKind(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"event-types"}, &out, &errs); code != 0 || errs.Len() > 0 {
		t.Fatalf("exit %d, %s", code, &errs)
	}
	if lines := strings.Fields(out.String()); len(lines) != len(scsguard.EventKinds()) || lines[0] != "login" {
		t.Errorf("got %q", lines)
	}
}

func TestAnythingElseExplainsItself(t *testing.T) {
	for _, args := range [][]string{nil, {"verify"}, {"event-types", "x"}} {
		var out, errs bytes.Buffer
		if code := run(args, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), "usage") {
			t.Errorf("%q: exit %d, %s", args, code, &errs)
		}
	}
	var out, errs bytes.Buffer
	if code := run([]string{"help"}, &out, &errs); code != 0 || out.Len() == 0 {
		t.Errorf("help: exit %d", code)
	}
}
