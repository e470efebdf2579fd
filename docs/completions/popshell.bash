# bash completion for popshell
_popshell() {
    local cur=$2 prev=$3 command= word
    COMPREPLY=()
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in
            learn|serve|watch|ping|check|run|explain|lint|config|lesson) command=$word; break ;;
        esac
    done
    case $prev in
        --tls) COMPREPLY=($(compgen -W 'implicit stls none' -- "$cur")); return ;;
        --ca) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --pin) return ;;
        --cert) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --key) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --tls-min) COMPREPLY=($(compgen -W '1.2 1.3' -- "$cur")); return ;;
        --sni) return ;;
        --address) return ;;
        --timeout) return ;;
        --user) return ;;
        --password-command) return ;;
        --password-fd) return ;;
        --token-command) return ;;
        --listen) return ;;
        --port) return ;;
        --tls-port) return ;;
        --ca-out) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --client-cert-out) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --host) return ;;
        --maildrop) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --account) return ;;
        --mechanisms) return ;;
        --without) return ;;
        --wait) return ;;
        --exec) return ;;
        --junit) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --format) return ;;
        --log) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --send|-c) return ;;
        --notes) COMPREPLY=($(compgen -W 'auto full brief off' -- "$cur")); return ;;
        --theme) COMPREPLY=($(compgen -W 'auto dark light none' -- "$cur")); return ;;
        --lang) COMPREPLY=($(compgen -W 'en zh-Hant' -- "$cur")); return ;;
        --lessons) COMPREPLY=($(compgen -f -- "$cur")); return ;;
    esac
    if [[ $cur == -* ]]; then
        case $command in
            learn) COMPREPLY=($(compgen -W '--tls --ca --pin --cert --key --tls-min --sni --address --ipv4 --ipv6 --insecure --timeout --plain --ascii --json --log --stop-on-err --yes --notes --theme --vi --lang --lessons --version --help' -- "$cur")) ;;
            serve) COMPREPLY=($(compgen -W '--port --tls-port --ca-out --client-cert-out --host --lan --surrogates --maildrop --account --require-tls --mechanisms --without --json --log --lang --lessons --version --help' -- "$cur")) ;;
            watch) COMPREPLY=($(compgen -W '--tls --ca --pin --cert --key --tls-min --sni --address --ipv4 --ipv6 --insecure --timeout --listen --tls-port --ca-out --plain --ascii --json --log --notes --theme --lang --lessons --version --help' -- "$cur")) ;;
            ping) COMPREPLY=($(compgen -W '--tls --ca --pin --cert --key --tls-min --sni --address --ipv4 --ipv6 --insecure --timeout --json --lang --lessons --version --help' -- "$cur")) ;;
            check) COMPREPLY=($(compgen -W '--tls --ca --pin --cert --key --tls-min --sni --address --ipv4 --ipv6 --insecure --timeout --user --password-command --password-fd --fetch --wrong-login --destructive --wait --exec --tap --junit --json --lang --lessons --version --help' -- "$cur")) ;;
            run) COMPREPLY=($(compgen -W '--tls --ca --pin --cert --key --tls-min --sni --address --ipv4 --ipv6 --insecure --timeout --user --password-command --password-fd --maildrop --account --require-tls --mechanisms --without --junit --json --stop-on-err --lang --lessons --version --help' -- "$cur")) ;;
            explain) COMPREPLY=($(compgen -W '--format --json --lang --lessons --version --help' -- "$cur")) ;;
            lint) COMPREPLY=($(compgen -W '--fix-dialogues --mark-translated --lang --lessons --version --help' -- "$cur")) ;;
            config) COMPREPLY=($(compgen -W '--plain --ascii --notes --theme --vi --lang --lessons --version --help' -- "$cur")) ;;
            lesson) COMPREPLY=($(compgen -W '--lang --lessons --version --help' -- "$cur")) ;;
            *) COMPREPLY=($(compgen -W '--tls --ca --pin --cert --key --tls-min --sni --address --ipv4 --ipv6 --insecure --timeout --password-command --password-fd --token-command --maildrop --account --require-tls --mechanisms --without --plain --ascii --json --log --send --stop-on-err --yes --notes --theme --vi --lang --lessons --version --help' -- "$cur")) ;;
        esac
    elif [[ -z $command || $command == @(watch|ping|check) ]]; then
        word=$(popshell config connections 2>/dev/null)
        [[ -n $command ]] || word='learn serve watch ping check run explain lint config lesson '$word
        COMPREPLY=($(compgen -W "$word" -- "$cur"))
    elif [[ $command == lint ]]; then
        COMPREPLY=($(compgen -d -- "$cur"))
    fi
}
complete -F _popshell popshell
