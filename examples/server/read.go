package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
)

const maxBody = 16 << 10

// read returns the fields of the request's body, a form or a JSON object of
// strings and numbers. A name that ends in "?" may be missing; there must be no
// others. Nothing is taken from the URL, where a password would end up in logs.
func read(w http.ResponseWriter, r *http.Request, names ...string) (map[string]string, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	in, err := fields(r)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, refuse(http.StatusRequestEntityTooLarge, "body_too_large", "The body has more than 16 KiB.")
	}
	if err != nil {
		return nil, err
	}
	for name := range in {
		if !slices.Contains(names, name) && !slices.Contains(names, name+"?") {
			return nil, bad("unknown_field", "There is no field of the name "+name+".")
		}
	}
	for _, name := range names {
		if in[name] == "" && !strings.HasSuffix(name, "?") {
			return nil, bad("missing_field", "The field "+name+" is missing.")
		}
	}
	return in, nil
}

func fields(r *http.Request) (map[string]string, error) {
	in := make(map[string]string)
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); {
	case kind == "application/json":
		return in, readJSON(r.Body, in)
	case kind != "application/x-www-form-urlencoded" && r.ContentLength != 0:
		return nil, refuse(http.StatusUnsupportedMediaType, "unsupported_media_type", "Send application/json or application/x-www-form-urlencoded.")
	}
	if err := r.ParseForm(); err != nil {
		return nil, errors.Join(bad("bad_form", "The form cannot be read."), err)
	}
	for name := range r.PostForm {
		in[name] = r.PostForm.Get(name)
	}
	return in, nil
}

func readJSON(body io.Reader, in map[string]string) error {
	var values map[string]any
	dec := json.NewDecoder(body)
	dec.UseNumber()
	err := dec.Decode(&values)
	if err == nil {
		_, err = dec.Token() // io.EOF, if there is nothing more
	}
	if values == nil || !errors.Is(err, io.EOF) {
		return errors.Join(bad("bad_json", "The body is not one JSON object."), err)
	}
	for name, value := range values {
		switch value.(type) {
		case string, json.Number:
			in[name] = fmt.Sprint(value)
		default:
			return bad("wrong_type", "The field "+name+" is neither a string nor a number.")
		}
	}
	return nil
}
