package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

// completion prints a script for a shell. Arguments are completed as files; what
// is made of the table is the names of commands and flags.
func completion(all []command, args []string, stdout, stderr io.Writer) int {
	scripts := map[string]func([]command) string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}
	if len(args) != 1 || scripts[args[0]] == nil {
		fmt.Fprint(stderr, `usage: scsguard completion bash|zsh|fish

  bash  add to ~/.bashrc:                    source <(scsguard completion bash)
  zsh   add to ~/.zshrc, behind compinit:    source <(scsguard completion zsh)
  fish  scsguard completion fish > ~/.config/fish/completions/scsguard.fish
`)
		return exitUsage
	}
	if _, err := io.WriteString(stdout, scripts[args[0]](all)); err != nil {
		return exitIO
	}
	return exitOK
}

// names returns the commands of the table and the two that are not in it.
func names(all []command) []string {
	var list []string
	for _, cmd := range all {
		list = append(list, cmd.name)
	}
	return append(list, "completion", "help")
}

func (cmd *command) flagNames() []string {
	var list []string
	fs, _ := cmd.flags()
	fs.VisitAll(func(f *flag.Flag) { list = append(list, "--"+f.Name) })
	return list
}

func bashScript(all []command) string {
	var b strings.Builder
	b.WriteString(`_scsguard() {
	local cur=${COMP_WORDS[COMP_CWORD]} words=
	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		words="` + strings.Join(names(all), " ") + `"
	else
		case ${COMP_WORDS[1]} in
		completion) words="bash zsh fish" ;;
		help) words="` + strings.Join(names(all)[:len(all)], " ") + `" ;;
`)
	for _, cmd := range all {
		fmt.Fprintf(&b, "\t\t%s) case $cur in -*) words=\"%s\" ;; esac ;;\n", cmd.name, strings.Join(cmd.flagNames(), " "))
	}
	b.WriteString(`		esac
	fi
	if [ -n "$words" ]; then
		COMPREPLY=($(compgen -W "$words" -- "$cur"))
	fi
}
complete -o default -o bashdefault -F _scsguard scsguard
`)
	return b.String()
}

func zshScript(all []command) string {
	var b strings.Builder
	b.WriteString("_scsguard() {\n\tif (( CURRENT == 2 )); then\n\t\tlocal -a commands=(\n")
	for _, cmd := range all {
		fmt.Fprintf(&b, "\t\t\t%s\n", quoted(cmd.name+":"+cmd.short))
	}
	b.WriteString("\t\t\t'completion:print a completion script'\n\t\t\t'help:explain a command'\n\t\t)\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tcase $words[2] in\n")
	fmt.Fprintf(&b, "\tcompletion) compadd bash zsh fish ;;\n\thelp) compadd %s ;;\n", strings.Join(names(all)[:len(all)], " "))
	for _, cmd := range all {
		fmt.Fprintf(&b, "\t%s) if [[ $words[CURRENT] == -* ]]; then compadd -- %s; else _files; fi ;;\n", cmd.name, strings.Join(cmd.flagNames(), " "))
	}
	b.WriteString("\tesac\n}\ncompdef _scsguard scsguard\n")
	return b.String()
}

func fishScript(all []command) string {
	var b strings.Builder
	for _, cmd := range all {
		fmt.Fprintf(&b, "complete -c scsguard -n __fish_use_subcommand -f -a %s -d %s\n", cmd.name, quoted(cmd.short))
		fs, _ := cmd.flags()
		fs.VisitAll(func(f *flag.Flag) {
			name, text := flag.UnquoteUsage(f)
			needs := ""
			if name != "" {
				needs = " -r"
			}
			first, _, _ := strings.Cut(text, "\n")
			fmt.Fprintf(&b, "complete -c scsguard -n '__fish_seen_subcommand_from %s' -l %s%s -d %s\n", cmd.name, f.Name, needs, quoted(first))
		})
	}
	fmt.Fprintf(&b, "complete -c scsguard -n __fish_use_subcommand -f -a completion -d 'print a completion script'\n")
	fmt.Fprintf(&b, "complete -c scsguard -n __fish_use_subcommand -f -a help -d 'explain a command'\n")
	fmt.Fprintf(&b, "complete -c scsguard -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'\n")
	return b.String()
}

// quoted is one word to a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
