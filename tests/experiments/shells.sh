#!/usr/bin/env bash
# Completion as the shells themselves do it, and the manual pages as mandoc and man read them.
#   shells.sh PROGRAM PAGES    PAGES: the folder of the manual pages
# bash is here, or this would not run; what else is not installed is left out, and said so.
set -euo pipefail

program=$(realpath "$1")
pages=$(realpath "$2")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$program" completion bash >complete.bash
"$program" completion zsh >_metalora
"$program" completion fish >complete.fish
mkdir 'a folder'
touch one.yaml two.yml notes.txt done.h5 'it is.yaml'
failures=0

fail() {
    printf 'FAILED: %s\n' "$1"
    failures=$((failures + 1))
}

# expect WHAT WANTED GOT: words in any order
expect() {
    local wanted got
    wanted=$(tr ' ' '\n' <<<"$2" | sort)
    got=$(sort <<<"$3")
    [[ $wanted == "$got" ]] || fail "$1"$'\n'"  expected: $2"$'\n'"  got:      $(tr '\n' ' ' <<<"$3")"
}

# expect_in WHAT WORD GOT: a line that begins with the word, alone or with a tab behind it
expect_in() {
    grep -qE "^$2($|"$'\t'")" <<<"$3" || fail "$1: '$2' is not among: $(tr '\n' ' ' <<<"$3" | cut -c 1-300)"
}

# ---- bash: the function, given the words as readline splits them ----

# bash_complete WORD...: the last one is being typed
bash_complete() {
    # shellcheck disable=SC2016   # the inner bash expands
    bash --norc --noprofile -c 'source ./complete.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _metalora
        ((${#COMPREPLY[@]} == 0)) || printf "%s\n" "${COMPREPLY[@]}"' bash metalora "$@"
}

check_bash() {
    bash -n complete.bash || fail 'bash: the syntax'
    expect 'bash: commands by their beginning' 'schema show' "$(bash_complete s)"
    expect_in 'bash: commands' run "$(bash_complete '')"
    expect_in 'bash: commands of a group' import "$(bash_complete data '')"
    expect 'bash: an option' '--threads' "$(bash_complete run one.yaml --th)"
    expect 'bash: options are those of the command' '--json' "$(bash_complete show --j)"
    expect 'bash: and no others' '' "$(bash_complete show --th)"
    expect 'bash: configurations and folders' 'one.yaml two.yml it_is.yaml a_folder' "$(bash_complete run '' | sed 's/\([^ ]\) /\1_/g')"
    expect 'bash: after options, too' 'one.yaml' "$(bash_complete run --quiet --out o.h5 o)"
    expect 'bash: result files' 'done.h5' "$(bash_complete show d)"
    expect 'bash: behind an option' 'done.h5' "$(bash_complete run --out d)"
    expect 'bash: behind an option and =' 'done.h5' "$(bash_complete run --out = d)"
    expect 'bash: keys' 'inner.rule=' "$(bash_complete run --set inner.ru)"
    expect 'bash: choices of a key' 'stride max' "$(bash_complete run --set model.pooling =)"
    expect 'bash: a choice by its beginning' 'fomaml' "$(bash_complete run --set outer.algorithm = fo)"
    expect 'bash: a choice behind --set=' 'fomaml' "$(bash_complete run --set = outer.algorithm = fo)"
    expect 'bash: yes or no' 'true false' "$(bash_complete run --set inner.learn_lr =)"
    expect 'bash: no guess at numbers' '' "$(bash_complete run --set inner.lr =)"
    expect 'bash: sources' 'minilm omniglot smollm2' "$(bash_complete data verify '')"
    expect 'bash: folders only' 'a_folder' "$(bash_complete data import omniglot '' | tr ' ' _)"
    expect 'bash: shells' 'bash zsh fish' "$(bash_complete completion '')"
    # Where '=' does not break words, whole words are replaced.
    expect 'bash: without = among the word breaks' '--set=outer.algorithm=fomaml' "$(COMP_WORDBREAKS=' ' bash -c '
        source ./complete.bash; COMP_WORDBREAKS=" "; COMP_WORDS=(metalora run --set=outer.algorithm=fo); COMP_CWORD=2
        _metalora; printf "%s\n" "${COMPREPLY[@]}"')"
}

# A bash at a terminal of its own, typed at; metalora prints the words it was given.
check_bash_terminal() {
    command -v script >/dev/null || { echo 'left out: bash at a terminal, script is not installed'; return; }
    script -qec true /dev/null >/dev/null 2>&1 || { echo 'left out: bash at a terminal, there are no pseudo-terminals here'; return; }
    local shown
    # shellcheck disable=SC2016   # the inner bash expands
    shown=$({
        printf '%s\n' 'source ./complete.bash' 'metalora() { printf "<%s>" "$@"; echo; }'
        printf 'metalora ru\tone.ya\t--set inner.ru\tsg\t--out do\t--quiet\n'
        printf 'exit\n'
        sleep 1
    } | TERM=dumb timeout 20 script -qec 'bash --norc --noprofile -i' /dev/null | tr -d '\r') || true
    [[ $shown == *'<run><one.yaml><--set><inner.rule=sgd><--out><done.h5><--quiet>'* ]] ||
        fail "bash at a terminal:"$'\n'"$shown"
}

# ---- zsh: typed at in a terminal of its own (zpty), which is the only way its completion runs ----

check_zsh() {
    command -v zsh >/dev/null || { echo 'left out: zsh is not installed'; return; }
    zsh -n _metalora || fail 'zsh: the syntax'
    cat >typed.zsh <<'END'
zmodload zsh/zpty
zpty -b terminal zsh -f -i
type() { zpty -w terminal "$1" }
type 'PS1= ; stty -echo; fpath=($PWD $fpath); autoload -U compinit; compinit -u -D; metalora() { print -r -- "GOT${(j:|:)@}END" }'
read_until() {
    local text chunk
    repeat 400; do
        if zpty -rt terminal chunk; then text+=$chunk; else sleep 0.02; fi
        [[ $text == *GOT[a-z]*END* ]] && break
    done
    print -r -- "$text" | grep -ao 'GOT[a-z].*END' | tail -n 1
}
for line in "$@"; do
    zpty -w -n terminal "$line"$'\n'
    read_until
done
zpty -d terminal
END
    local shown
    shown=$(TERM=dumb timeout 60 zsh -f typed.zsh $'metalora ru\tone.ya\t--qui\t' $'metalora data ver\tomni\t' \
        $'metalora run one.yaml --set inner.ru\tsg\t' $'metalora show do\t' 2>&1) || true
    [[ $shown == $'GOTrun|one.yaml|--quietEND\nGOTdata|verify|omniglotEND\nGOTrun|one.yaml|--set|inner.rule=sgdEND\nGOTshow|done.h5END' ]] ||
        fail "zsh at a terminal:"$'\n'"$shown"
}

# ---- fish: its own 'complete -C' ----

fish_complete() {
    HOME=$folder fish --no-config -c "source ./complete.fish; complete -C '$1'"
}

check_fish() {
    command -v fish >/dev/null || { echo 'left out: fish is not installed'; return; }
    fish --no-execute complete.fish || fail 'fish: the syntax'
    expect 'fish: commands by their beginning' 'schema show' "$(fish_complete 'metalora s' | cut -f 1)"
    expect_in 'fish: commands of a group' import "$(fish_complete 'metalora data ')"
    expect_in 'fish: an option' --threads "$(fish_complete 'metalora run one.yaml --th')"
    expect 'fish: options are those of the command' '' "$(fish_complete 'metalora show --th')"
    expect_in 'fish: configurations' one.yaml "$(fish_complete 'metalora run o')"
    expect_in 'fish: behind an option' done.h5 "$(fish_complete 'metalora run one.yaml --out d')"
    expect_in 'fish: keys' inner.lr= "$(fish_complete 'metalora run --set inner.l')"
    expect 'fish: choices of a key' 'model.pooling=stride model.pooling=max' "$(fish_complete 'metalora run --set model.pool' | cut -f 1)"
    expect_in 'fish: sources' omniglot "$(fish_complete 'metalora data verify ')"
}

# ---- manual pages ----

check_pages() {
    local page warnings
    if command -v mandoc >/dev/null; then
        mandoc -Tlint -W warning "$pages"/*.1 || fail 'mandoc has complaints'
    else
        echo 'left out: mandoc is not installed'
    fi
    if command -v man >/dev/null && command -v groff >/dev/null; then
        for page in "$pages"/*.1; do
            warnings=$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null) || true
            [[ ! $warnings ]] || fail "man: $warnings"
        done
        [[ $(MANWIDTH=80 man -l -Tascii "$pages/metalora-run.1" | col -b) == *--threads* ]] || fail 'man shows no --threads'
    else
        echo 'left out: man is not installed'
    fi
}

check_bash
check_bash_terminal
check_zsh
check_fish
check_pages
((failures == 0)) || { printf '%d failures\n' "$failures"; exit 1; }
echo 'shells and manual pages: as expected'
