// Command mutants takes one protection out of the library at a time and demands
// that the test which guards it fails.
//
// A mutant is a patch in testdata/mutants. What stands before its first "diff"
// line says what is taken out and which test has to notice:
//
//	Protection: a sentence
//	Package: ./registrytest   (default: .)
//	Test: TestName            (a regular expression for go test -run, or TestName/how
//	                          the name of a subtest begins)
//
// Run it at the root of the repository, with names of mutants to run only
// those, or with -for to try as many as can be begun in that time, in random
// order. It works on copies and exits with 1 if a mutant survives, does not apply
// or does not compile, or if a test fails without any.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

const folder = "testdata/mutants"

type mutant struct {
	name, protection, pkg, test string
	patch                       string
}

func main() {
	budget := flag.Duration("for", 0, "how long to begin new mutants; 0: until all are done")
	flag.Parse()
	if err := run(flag.Args(), *budget); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(only []string, budget time.Duration) error {
	mutants, err := load(only)
	if err != nil {
		return err
	}
	start := time.Now()
	if budget > 0 {
		rand.Shuffle(len(mutants), func(i, j int) { mutants[i], mutants[j] = mutants[j], mutants[i] })
	}
	copies := make(chan string, max(1, runtime.NumCPU()))
	for range cap(copies) {
		dir, err := copyTree()
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		copies <- dir
	}
	dir := <-copies
	if err := unharmed(dir, mutants); err != nil {
		return err
	}
	copies <- dir

	var wg sync.WaitGroup
	var mu sync.Mutex
	tried, survived := 0, 0
	for _, m := range mutants {
		dir := <-copies
		if budget > 0 && time.Since(start) > budget {
			break
		}
		tried++
		wg.Go(func() {
			verdict := try(dir, m)
			copies <- dir
			mu.Lock()
			defer mu.Unlock()
			if verdict == "" {
				fmt.Printf("killed    %-32s %s\n", m.name, m.protection)
				return
			}
			survived++
			fmt.Printf("SURVIVED  %-32s %s\n          %s\n", m.name, m.protection, verdict)
		})
	}
	wg.Wait()
	if survived > 0 {
		return fmt.Errorf("%d of %d mutants survived", survived, tried)
	}
	fmt.Printf("%d of %d mutants tried, all killed, in %v\n", tried, len(mutants), time.Since(start).Round(time.Second))
	return nil
}

// load reads the patches.
func load(only []string) ([]mutant, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.patch"))
	if err != nil {
		return nil, err
	}
	var mutants []mutant
	for _, file := range files {
		m := mutant{name: strings.TrimSuffix(filepath.Base(file), ".patch"), pkg: "."}
		if len(only) > 0 && !slices.Contains(only, m.name) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		header, _, ok := strings.Cut(string(text), "\ndiff ")
		if !ok {
			return nil, fmt.Errorf("%s is no patch", file)
		}
		for line := range strings.SplitSeq(header, "\n") {
			key, value, _ := strings.Cut(line, ": ")
			switch key {
			case "Protection":
				m.protection = value
			case "Package":
				m.pkg = value
			case "Test":
				m.test = value
			}
		}
		if m.protection == "" || m.test == "" {
			return nil, fmt.Errorf("%s does not say what it takes out and which test notices", file)
		}
		if m.patch, err = filepath.Abs(file); err != nil {
			return nil, err
		}
		mutants = append(mutants, m)
	}
	if len(mutants) == 0 {
		return nil, fmt.Errorf("no mutants in %s: run this at the root of the repository", folder)
	}
	return mutants, nil
}

// copyTree copies what git tracks or would track.
func copyTree() (string, error) {
	list, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return "", fmt.Errorf("git ls-files: %w", err)
	}
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return "", err
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		data, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue // deleted and not committed yet
		}
		if err == nil {
			err = os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o777)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o666)
		}
		if err != nil {
			return "", err
		}
	}
	return dir, nil
}

// unharmed demands that every test which has to notice something passes before.
func unharmed(dir string, mutants []mutant) error {
	tests := make(map[string][]string)
	for _, m := range mutants {
		tests[m.pkg] = append(tests[m.pkg], m.test)
	}
	for pkg, names := range tests {
		slices.Sort(names)
		out, err := goTest(dir, pkg, strings.Join(slices.Compact(names), "|"), 10*time.Minute) // they are many
		if err != nil || strings.Contains(out, "no tests to run") {
			return fmt.Errorf("the tests of %s do not pass without a mutant:\n%s", pkg, out)
		}
	}
	return nil
}

// try applies a mutant, runs its test and takes it back. It returns "" if the
// test noticed.
func try(dir string, m mutant) string {
	if out, err := git(dir, "apply", m.patch); err != nil {
		return "it does not apply: " + out
	}
	defer func() {
		if out, err := git(dir, "apply", "--reverse", m.patch); err != nil {
			panic("mutants: " + m.name + " cannot be taken back: " + out)
		}
	}()
	out, err := goTest(dir, m.pkg, m.test, 2*time.Minute)
	switch {
	case err == nil && strings.Contains(out, "no tests to run"):
		return "there is no such test: " + m.test
	case err == nil:
		return "nothing noticed: " + m.test
	case strings.Contains(out, "[build failed]"), strings.Contains(out, "[setup failed]"):
		return "it does not compile:\n" + out
	}
	return ""
}

func git(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir)) // the copy is no repository
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func goTest(dir, pkg, test string, timeout time.Duration) (string, error) {
	cmd := exec.Command("go", "test", "-vet=off", "-count=1", "-timeout="+timeout.String(), "-run", pattern(test), pkg)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// pattern is test as go test -run takes it: whole names of tests, beginnings of subtests.
func pattern(test string) string {
	var list []string
	for _, one := range strings.Split(test, "|") {
		name, sub, nested := strings.Cut(one, "/")
		name = "^(" + name + ")$"
		if nested {
			name += "/^" + sub
		}
		list = append(list, name)
	}
	return strings.Join(list, "|")
}
