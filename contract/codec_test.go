package contract

import (
	"encoding/gob"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
)

var codecs = map[string]scs.Codec{"gob": scs.GobCodec{}, "JSON": jsonCodec{}}

// jsonCodec is a codec as an application may write one: readable in the store,
// and only for values that JSON keeps.
type jsonCodec struct{}

type jsonSession struct {
	Until  time.Time      `json:"until"`
	Values map[string]any `json:"values"`
}

func (jsonCodec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	return json.Marshal(jsonSession{deadline, values})
}

func (jsonCodec) Decode(b []byte) (time.Time, map[string]any, error) {
	var s jsonSession
	err := json.Unmarshal(b, &s)
	return s.Until, s.Values, err
}

// address is a type of an application's own.
type address struct {
	Street string
	Number int
}

func init() {
	gob.Register(address{})
	gob.Register(time.Time{}) // what gob does not know by itself the application has to tell it
}

// sealed is a codec that cannot read what it has not sealed itself.
type sealed struct{ scs.Codec }

var errSeal = errors.New("the seal is broken")

const seal = "sealed:"

func (s sealed) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	b, err := s.Codec.Encode(deadline, values)
	return append([]byte(seal), b...), err
}

func (s sealed) Decode(b []byte) (time.Time, map[string]any, error) {
	if !contains(string(b), seal) {
		return time.Time{}, nil, errSeal
	}
	return s.Codec.Decode(b[len(seal):])
}

func contains(s, part string) bool { return strings.Contains(s, part) }
