#!/usr/bin/env bash
# Installs a build into a folder of its own, moves it, and uses what is there: the program, and the library from a program
# built with find_package and from one built with pkg-config.
#   consumer.sh BUILD SOURCE    both folders; everything must be built already
set -euo pipefail

build=$(realpath "$1")
source=$(realpath "$2")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

fail() { printf 'FAILED: %s\n' "$1"; exit 1; }
step() { "${@:2}" >log 2>&1 || { cat log; fail "$1"; } }

step 'cmake --install' cmake --install "$build" --prefix "$folder/first"
mv first moved   # nothing may remember where it was installed
prefix=$folder/moved
libdir=$(dirname "$(find "$prefix" -name libmetalora.a)")

# ---- what must be there, and what must not ----

for file in bin/metalora include/metalora/autograd/autograd.h share/man/man1/metalora.1 share/man/man1/metalora-run.1 \
    share/bash-completion/completions/metalora share/zsh/site-functions/_metalora \
    share/fish/vendor_completions.d/metalora.fish share/metalora/experiment.schema.json \
    share/metalora/configs/quickstart.yaml share/doc/metalora/LICENSE share/doc/metalora/docs/config-reference.md; do
    [[ -s $prefix/$file ]] || fail "$file is not installed"
done
# (Debugging records of a build outside its source do name the build's folder.)
if found=$(grep -rlF -e "$source" -e "$folder/first" "$prefix" || grep -rlIF "$build" "$prefix"); then
    fail "these name a folder of the machine that built them: $found"
fi
while IFS= read -r header; do
    step "$header alone" cc -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I "$prefix/include/metalora" -x c \
        <(printf '#include "%s"\n' "$header")
done < <(cd "$prefix/include/metalora" && find . -name '*.h' ! -name ops.h | sed 's|^\./||')   # ops.h is a list, not a header

# ---- the program ----

for config in "$prefix"/share/metalora/configs/*.yaml; do
    step "metalora check $config" "$prefix/bin/metalora" check "$config"
done

# ---- the library ----

step 'cmake with find_package' cmake -G "$(sed -n 's/^CMAKE_GENERATOR:INTERNAL=//p' "$build/CMakeCache.txt")" \
    -S "$source/tests/install" -B cmake -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release
step 'building with find_package' cmake --build cmake
step 'the float32 program' cmake/consumer
step 'the float64 program' cmake/consumer64
export PKG_CONFIG_PATH=$libdir/pkgconfig
[[ $(pkg-config --modversion metalora) == "$("$prefix/bin/metalora" --version | sed -n 's/^metalora //p')" ]] || fail 'the version of metalora.pc'
read -ra flags <<<"$(pkg-config --cflags --libs metalora)"
step 'building with pkg-config' cc -std=c11 -Wall -Wextra -Wpedantic -Werror "$source/tests/install/consumer.c" "${flags[@]}" -o consumer
step 'the program built with pkg-config' ./consumer
cat log
