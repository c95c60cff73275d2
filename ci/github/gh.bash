# Sourced by the scripts that ask GitHub.

# Ask gh: its answer is in $said, and why there is none in $refusal.
ask() {
    refusal=''
    # shellcheck disable=SC2034
    said=$(gh "$@" 2> bench-gate/gh-errors) || { refusal=$(cat bench-gate/gh-errors) && return 1; }
}

# Do this three times where GitHub or the network fails, which is no answer.
persist() {
    local pause
    for pause in 1 2; do
        "$@" && return 0
        is_transient || return 1
        sleep "$pause"
    done
    "$@"
}

# Whether the last failure would not be one at another time: no answer, an error of the server, too many questions.
is_transient() {
    grep -qiE 'HTTP (429|5[0-9][0-9])|rate limit|abuse detection|error connecting|dial tcp|no such host|lookup .* on|timeout|timed out|deadline exceeded|connection (refused|reset)|network is unreachable|unexpected EOF|TLS handshake' <<< "$refusal"
}

# Whether the token may not do what was asked: the answer to a fork's, to Dependabot's, and to one without the permission. No token at
# all is refused by gh itself. Too many questions are answered with 403, too.
is_refused() {
    ! is_transient && grep -qiE 'HTTP 403|Resource not accessible by|GH_TOKEN environment variable|gh auth login' <<< "$refusal" &&
        ! grep -q 'HTTP 401' <<< "$refusal"
}

# A workflow command; line ends would begin another.
annotate() {
    local text=${3//'%'/%25}
    text=${text//$'\r'/%0D}
    echo "::$1 title=$2::${text//$'\n'/%0A}"
}
