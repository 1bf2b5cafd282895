# SPDX-License-Identifier: GPL-2.0 OR MIT
# shellcheck shell=bash
#
# shellcheck disable=SC2034  # variables for those who source this
#
# What all scripts of the rig share: where things are, cached steps with progress, and running a
# command inside one of the two trees. To be sourced.

set -euo pipefail

# --- messages ----------------------------------------------------------------------------------

say() { printf '%s\n' "$*" >&2; }

# die MESSAGE [WHAT TO DO]
die() {
	say "error: $1"
	[ $# -lt 2 ] || say "       $2"
	exit 1
}

show_line() { printf '  %-58s %s\n' "$1" "$2" >&2; }

# usage_of SCRIPT: what stands at its head.
usage_of() { sed -n '4,/^[^#]*$/{s/^# \{0,1\}//p}' "$1"; }

# no_arguments SCRIPT ARGUMENT...: for scripts that take none but --help.
no_arguments() {
	local script=$1
	shift
	case ${1:-} in
	'') ;;
	--help | -h) usage_of "$script" && exit ;;
	*) die "${script##*/} takes no arguments, and not '$1'" ;;
	esac
}

# --- where things are --------------------------------------------------------------------------

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=scripts/rig.conf
source "$REPO/scripts/rig.conf"
CACHE=${AMDGPU_RS_CACHE:-}
if [ -z "$CACHE" ]; then
	[ -n "${XDG_CACHE_HOME:-}${HOME:-}" ] ||
		die "HOME is not set: where is the cache?" "set HOME, or AMDGPU_RS_CACHE to a folder with room (docs/rig.md)"
	CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/amdgpu_rs
fi
mkdir -p "$CACHE" || die "the cache $CACHE cannot be made" "set AMDGPU_RS_CACHE to a folder with room (docs/rig.md)"
CACHE=$(cd "$CACHE" && pwd -P)
case $REPO$CACHE in
*[[:space:]]*)
	die "there is a space in the path of the checkout or of the cache: $REPO, $CACHE" \
		"the kernel's build system knows no such paths: move it, or set AMDGPU_RS_CACHE"
	;;
esac
# What is built from this checkout; several checkouts may share one cache.
WORK=$CACHE/work/$(printf '%s' "$REPO" | sha256sum | cut -c1-8)
OUT=$REPO/out
JOBS=${JOBS:-$(nproc)}
export LC_ALL=C.UTF-8

# --- steps -------------------------------------------------------------------------------------

# Whether there is no room left for the cache; then a step's log may not even say so.
is_full() { [ "$(df -Pk "$CACHE" | awk 'NR == 2 { print $4 }')" -lt 65536 ]; }

# need_room GIB WHAT: warns before a step that takes much.
need_room() {
	local free
	free=$(df -Pk "$CACHE" | awk 'NR == 2 { print int($4 / 1048576) }')
	[ "$free" -ge "$1" ] || say "warning: $2 take $1 GiB, and $CACHE has room for $free (AMDGPU_RS_CACHE names another folder)"
}

# hash_of FILE...: one key for the contents of files and folders, wherever they stand.
hash_of() {
	local path
	for path in "$@"; do
		if [ -d "$path" ]; then
			(cd "$path" && find . -type f -print0 | sort -z | xargs -0r sha256sum)
		elif [ -e "$path" ]; then
			sha256sum <"$path"
		fi
	done | sha256sum | cut -c1-12
}

# run_logged TITLE LOG HINT FUNCTION ARG...: runs a function of scripts/rig with its output in LOG,
# shows that it goes on and how long it took; where it fails, says what failed, where the log is and
# what to do. The function runs in a shell of its own: where a caller looks at the status, errexit
# would be off inside it.
run_logged() {
	local title=$1 log=$2 hint=$3 start=$SECONDS status=0 told="" pid
	shift 3
	mkdir -p "$(dirname "$log")"
	"$REPO/scripts/rig" "$@" >"$log" 2>&1 </dev/null &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		if [ -n "${RIG_QUIET:-}" ]; then
			:
		elif [ -t 2 ]; then
			printf '\r  %-58s %4d s' "$title" $((SECONDS - start)) >&2
		elif [ $((SECONDS - start)) -ge 5 ] && [ -z "$told" ]; then
			show_line "$title" "..."
			told=1
		fi
		sleep 0.2
	done
	[ ! -t 2 ] || printf '\r\033[K' >&2
	wait "$pid" || status=$?
	if [ "$status" -ne 0 ]; then
		show_line "$title" "FAILED after $((SECONDS - start)) s"
		say "--- the end of its log:"
		tail -n "${LOG_TAIL:-25}" "$log" >&2
		say "---"
		say "error: the step '$title' failed (status $status)."
		say "       log:  $log"
		! is_full || hint="the disk of $CACHE is full: make room there, or set AMDGPU_RS_CACHE to a folder with room (docs/rig.md)"
		say "       next: $hint"
		return "$status"
	fi
	[ -n "${RIG_QUIET:-}" ] || show_line "$title" "$((SECONDS - start)) s"
}

# RIG_QUIET leaves steps out that go well; RIG_VERBOSE names those too that had nothing to do.
declare -A STEPS_SHOWN=()

# cached_step NAME TITLE HINT RECIPE INPUT...
#
# Runs the function RECIPE once for each different set of inputs, into a folder of its own, and puts
# that folder's path in STEP_DIR. The key is made of the inputs (strings) and of the recipe's own text.
# A folder counts only when its .done is there, so a step that was cut off is done again.
cached_step() {
	local name=$1 title=$2 hint=$3 recipe=$4 key
	shift 4
	key=$(printf '%s\n' "$@" "$(declare -f "$recipe")" | sha256sum | cut -c1-12)
	STEP_DIR=$CACHE/$name/$key
	if [ ! -e "$STEP_DIR/.done" ]; then
		mkdir -p "$CACHE/locks"
		local lock
		exec {lock}>"$CACHE/locks/$name"
		flock -n "$lock" || { say "  (waiting for another run that does '$title')" && flock "$lock"; }
		if [ ! -e "$STEP_DIR/.done" ]; then
			require_root
			rm -rf "$STEP_DIR"
			mkdir -p "$STEP_DIR"
			run_logged "$title" "$CACHE/logs/$name-$key.log" "$hint" "$recipe" "$STEP_DIR" {lock}>&- || exit 1
			touch "$STEP_DIR/.done"
			prune_siblings "$name"
		fi
		exec {lock}>&-
	elif [ -n "${RIG_VERBOSE:-}" ] && [ -z "${STEPS_SHOWN[$name]:-}" ]; then
		show_line "$title" cached
	fi
	STEPS_SHOWN[$name]=1
	touch "$STEP_DIR/.done"
}

# Results of older inputs that nobody used for two weeks only take room.
prune_siblings() {
	find "$CACHE/$1" -mindepth 2 -maxdepth 2 -name .done -mtime +14 -printf '%h\0' | xargs -0r rm -rf
}

require_root() {
	[ "$(id -u)" -eq 0 ] || die "this step needs root (it makes and enters chroots)" "run it again as root, for example with sudo"
}

# --- trees -------------------------------------------------------------------------------------

# in_tree TREE COMMAND...: runs a command with TREE as its root. The checkout, the cache and the
# folder of TREE_BIND (if set) are at the same paths inside as outside. The mounts live in a mount
# namespace of their own and vanish with the command, however it ends.
in_tree() {
	local tree=$1
	shift
	[ ! -e /etc/resolv.conf ] || cp -fL /etc/resolv.conf "$tree/etc/resolv.conf"
	# shellcheck disable=SC2016  # expanded by the inner shell
	unshare --mount --propagation private bash -c '
		set -e
		tree=$1 cwd=$2; shift 2
		# Before the others: the checkout may be below /tmp.
		mount -t tmpfs tmpfs "$tree/tmp"
		bind() { mkdir -p "$tree$1"; mount --rbind "$1" "$tree$1"; }
		while [ "$1" != -- ]; do bind "$1"; shift; done
		shift
		mount -t proc proc "$tree/proc"
		mount --rbind /dev "$tree/dev"
		[ ! -d "$tree/sys" ] || mount --rbind /sys "$tree/sys"
		exec chroot "$tree" /bin/bash -c '\''cd "$1" && shift && exec "$@"'\'' in_tree "$cwd" "$@"
	' in_tree "$tree" "${TREE_CWD:-$REPO}" "$CACHE" "$REPO" ${TREE_BIND:+"$TREE_BIND"} -- "$@"
}

# in_tree for cargo: what it downloads is kept in the cache, it trusts the authorities that this host
# trusts, and no setting of the host's own Rust reaches it.
cargo_in_tree() {
	local tree=$1 ca=/etc/ssl/certs/ca-certificates.crt vars=()
	shift
	mkdir -p "$CACHE/cargo"
	vars=(PATH=/usr/sbin:/usr/bin:/sbin:/bin "HOME=$CACHE/cargo" "CARGO_HOME=$CACHE/cargo" CARGO_TERM_COLOR=never)
	if [ -e "$ca" ]; then
		cp -f "$ca" "$CACHE/cargo/host-ca.crt"
		vars+=("CARGO_HTTP_CAINFO=$CACHE/cargo/host-ca.crt")
	fi
	in_tree "$tree" env -u RUSTFLAGS -u RUSTC -u RUSTC_WRAPPER -u RUSTUP_HOME -u RUSTUP_TOOLCHAIN "${vars[@]}" "$@"
}

# kunit_lines: of the console's log, KUnit's cases as lines of scripts/test. Cases stand one level below their
# suite; what stands deeper are a case's parameters.
kunit_lines() {
	sed -E 's/^<[0-9]+>\[ *[0-9.]+\](\[ *[TC][0-9]+\])? ?//; s/\r$//' |
		awk '/^    # Subtest: / { suite = $3; print "part: " suite }
			/^    (ok|not ok) [0-9]+ / { line = $0; sub(/^ +/, "", line); sub(/ [0-9]+ /, " " suite ": ", line)
				if (sub(/ *# SKIP */, ": ", line)) sub(/^(not )?ok /, "skip ", line)
				print line }'
}

# with_lock NAME COMMAND...: one at a time per checkout; several people may work in one.
with_lock() {
	local name=$1 lock
	shift
	mkdir -p "$WORK/locks"
	exec {lock}>"$WORK/locks/$name"
	flock -n "$lock" || { say "  (waiting for another run that makes $name in this checkout)" && flock "$lock"; }
	"$@" {lock}>&-
	exec {lock}>&-
}

# The Debian mirror: the one that this host's apt uses, else Debian's own name.
debian_mirror() {
	local uri
	if [ -n "${DEBIAN_MIRROR:-}" ]; then
		echo "$DEBIAN_MIRROR"
		return
	fi
	# A host that has no such sources, or no apt-get, has no mirror of its own to name.
	uri=$(apt-get indextargets --format "\$(ORIGIN)|\$(LABEL)|\$(REPO_URI)" 'Created-By: Packages' 2>/dev/null |
		sed -n 's/^Debian|Debian|//p' | head -n 1) || true # see above
	uri=${uri:-http://deb.debian.org/debian}
	echo "${uri%/}"
}
