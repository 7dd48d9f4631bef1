package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/auditlog"
	"github.com/scsguard/scsguard/investigate"
)

// samples is one record of each kind, as the guard and the log write them.
func samples() []auditlog.Record {
	const head = `{"id":"ID","time":"2026-03-04T09:00:00.000001Z","event":`
	const whole = `,"outcome":"success","reason":"user","user":"alice","actor":"admin","session":"S","session_seq":2,"token_hash":"TH","ip":"192.0.2.1",` +
		`"ip_source":"remote_addr","user_agent":"Mozilla/5.0","fingerprint":"FP","request_id":"R","route":"POST /x","transaction":"TX","auth_methods":["pwd","otp"],"aal":2,` +
		`"auth_time":"2026-03-04T08:00:00.000000Z","created":"2026-03-04T08:00:00.000000Z","idle_expires":"2026-03-04T09:15:00.000000Z","absolute_expires":"2026-03-04T16:00:00.000000Z",` +
		`"idle_expires_old":"2026-03-04T09:10:00.000000Z","absolute_expires_old":"2026-03-04T16:00:00.000000Z","due":"2026-03-04T09:00:00.000000Z","concurrent":2,"others":["T"],"max":3,"details":{"from":"user","to":"teller"}}`
	events := []string{head + `"transfer"` + whole, // of an application
		head + `"login","outcome":"failure","user":"alice"}`,
		head + `"login_failed","outcome":"failure","reason":"password","ip":"fe80::1%eth0","ip_source":"remote_addr"}`}
	for _, kind := range scsguard.EventKinds() {
		events = append(events, head+`"`+string(kind)+`"`+whole)
	}
	var list []auditlog.Record
	add := func(event string, own bool) {
		at := time.Date(2026, 3, 4, 9, 0, 0, 2000, time.UTC)
		line := fmt.Sprintf(`{"v":1,"stream":"shop/web-3/01A","seq":%d,"time":"2026-03-04T09:00:00.000002Z","prev":"P","event":%s}`, len(list), event)
		list = append(list, auditlog.Record{Stream: "shop/web-3/01A", Seq: int64(len(list)), Time: at, Leaf: leafOf(line), Event: []byte(event), Own: own, Line: []byte(line)})
	}
	for _, e := range events {
		add(e, false)
	}
	for _, kind := range auditlog.OwnKinds() {
		add(`{"event":"`+kind+`","from":"2026-03-04T08:00:00.000000Z","refused":2,"counts_by_type":{"extend":3},"cause":"disk full"}`, true)
	}
	return list
}

// leafOf is RFC 6962 2.1.
func leafOf(line string) auditlog.Hash { return sha256.Sum256([]byte("\x00" + line)) }

func exportedAs(t *testing.T, format string, list ...auditlog.Record) string {
	t.Helper()
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	out := exporters[format](w)
	for i := range list {
		e := investigate.Parse(&list[i])
		require.NoError(t, out.put(&exported{e, meaningOf(&e), list[i].Line}))
	}
	require.NoError(t, out.end())
	require.NoError(t, w.Flush())
	return b.String()
}

func TestEachKindOfEventIsExportedAsTheGoldenFilesHaveIt(t *testing.T) {
	for format := range exporters {
		file := filepath.Join("testdata", "export", format+".txt")
		got := exportedAs(t, format, samples()...)
		if os.Getenv("EXPORT") == "write" {
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
			require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, lines(string(want)), lines(got), "EXPORT=write go test writes %s anew: SIEMs will notice", file)
	}
}

func TestEachKindOfEventHasAMeaningInOtherSystems(t *testing.T) {
	kinds := scsguard.EventKinds()
	for _, kind := range auditlog.OwnKinds() {
		kinds = append(kinds, scsguard.EventKind(kind))
	}
	for _, kind := range kinds {
		m, ok := meanings[kind]
		require.True(t, ok, "%s is not mapped", kind)
		require.NotEmpty(t, m.categories, kind)
		require.NotEmpty(t, m.kind, kind)
		require.NotEmpty(t, ocsfClasses[m.class].name, kind)
		require.NotEmpty(t, ocsfCategories[m.class/1000], kind)
	}
}

// The fields that the classes of OCSF 1.4 require, and the pairs of category and
// type that ECS allows.
func TestWhatIsExportedHasWhatTheSchemasRequire(t *testing.T) {
	types := map[string]string{"authentication": "start end info", "session": "start end info", "iam": "admin change creation deletion group info user", "configuration": "access change creation deletion info"}
	for _, line := range lines(exportedAs(t, "ecs", samples()...)) {
		var e struct {
			Timestamp time.Time `json:"@timestamp"`
			Event     struct {
				Kind, Outcome, Original, Hash string
				Category, Type                []string
			}
		}
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		require.False(t, e.Timestamp.IsZero())
		require.Contains(t, []string{"event", "alert"}, e.Event.Kind)
		require.Contains(t, []string{"success", "failure", "unknown"}, e.Event.Outcome)
		require.Equal(t, leafOf(e.Event.Original).String(), e.Event.Hash)
		for _, c := range e.Event.Category {
			require.Contains(t, strings.Fields(types[c]), e.Event.Type[0], line)
		}
	}
	for _, line := range lines(exportedAs(t, "ocsf", samples()...)) {
		var e map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		class := int(e["class_uid"].(float64))
		for _, name := range []string{"activity_id", "category_uid", "class_uid", "type_uid", "time", "severity_id", "metadata"} {
			require.Contains(t, e, name, line)
		}
		for _, name := range map[int][]string{classAuthentication: {"user", "service"}, classAuthorize: {"user", "privileges"}, classLifecycle: {"app"}}[class] {
			require.Contains(t, e, name, line)
		}
		require.EqualValues(t, float64(100*class)+e["activity_id"].(float64), e["type_uid"])
		require.Equal(t, leafOf(e["raw_data"].(string)).String(), e["raw_data_hash"].(map[string]any)["value"])
	}
}

func TestTheRawLineProvesItselfWhateverIsInIt(t *testing.T) {
	for _, bad := range []string{"a\u202eb", "a\xffb", "a\u2028\u009bb", "<&>"} {
		line := `{"v":1,"event":{"id":"I","event":"note","user":"` + bad + `"}}`
		r := auditlog.Record{Stream: "s", Leaf: leafOf(line), Event: []byte(line[len(`{"v":1,"event":`) : len(line)-1]), Line: []byte(line)}
		for format, find := range map[string]func(string) string{
			"ecs":  func(s string) string { return member(t, s, "event", "original") },
			"ocsf": func(s string) string { return member(t, s, "raw_data") },
			"json": func(s string) string { return member(t, s, "raw") },
			"csv": func(s string) string {
				rows, err := csv.NewReader(strings.NewReader(s)).ReadAll()
				require.NoError(t, err)
				return rows[1][len(exportColumns)-1]
			},
		} {
			out := exportedAs(t, format, r)
			for _, l := range lines(out) {
				require.False(t, strings.ContainsFunc(l, unsafe), "%s: %q", format, l)
			}
			raw := find(out)
			if encoded, ok := strings.CutPrefix(raw, "base64:"); ok {
				b, err := base64.StdEncoding.DecodeString(encoded)
				require.NoError(t, err)
				raw = string(b)
			}
			require.Equal(t, line, raw, format)
			require.Equal(t, r.Leaf, leafOf(raw), format)
		}
	}
}

func member(t *testing.T, text string, path ...string) string {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	for _, name := range path {
		v = v.(map[string]any)[name]
	}
	return v.(string)
}

func TestASpreadsheetTakesNoCellForAFormula(t *testing.T) {
	for _, user := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＠x", " =1", "\u3000=1"} {
		b, err := json.Marshal(map[string]string{"event": "note", "user": user, "reason": user, "user_agent": user})
		require.NoError(t, err)
		rows, err := csv.NewReader(strings.NewReader(exportedAs(t, "csv", auditlog.Record{Stream: "s", Event: b, Line: b}))).ReadAll()
		require.NoError(t, err)
		for i, text := range rows[1] {
			require.NotRegexp(t, "^[ \u3000]*[=+\\-@\t\r\n＝＋－＠]", text, "%q in %s", user, rows[0][i])
		}
		require.NotEmpty(t, rows[1][5])
	}
}

func TestAnExportHasWhatWasAskedForAndSaysHowGoodTheTrailIs(t *testing.T) {
	p := told(t)
	require.Equal(t, exitOK, p.ask("export").code)
	require.Len(t, lines(p.ask("export").stdout), 5)
	require.Len(t, lines(p.ask("export", "--all").stdout), 7, "with opened and closed")
	require.Len(t, lines(p.ask("export", "--session", "T").stdout), 2)
	require.Empty(t, p.ask("export", "--user", "bob").stdout)
	require.Len(t, lines(p.ask("export", "--from", minute(5), "--to", minute(20), "--format", "csv").stdout), 4)
	require.Equal(t, exitUsage, p.ask("export", "--format", "xml").code)
	require.Equal(t, exitIO, cli("export", p.trail+"x", "--key", p.key).code)
	require.Equal(t, exitUnknown, cli("export", p.trail, "--key", p.key).code, "unanchored")

	queries := filepath.Join(t.TempDir(), "queries")
	require.Equal(t, exitOK, p.ask("export", "--user", "bob", "--query-trail", queries).code)
	require.Contains(t, cli("events", queries, "--key", queries+"-keys/trail.pub").stdout, "export "+p.trail)

	p.change(func(s string) string {
		return strings.Replace(s, `"user":"alice","session":"T"`, `"user":"carol","session":"T"`, 1)
	})
	r := p.ask("export")
	require.Equal(t, exitTamper, r.code)
	require.Contains(t, r.stderr, "TAMPERED")
	require.NotContains(t, r.stdout, "carol")
}
