# Completion of foundry for bash. Each TAB asks foundry itself, which looks and changes nothing.
_foundry() {
    local rest=${COMP_LINE:0:COMP_POINT} words=() word i
    # Readline breaks words at ':' and '=', too; what stands together is put together again.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i == 0)) || [[ $rest == [[:space:]]* || -z $rest ]]; then
            rest=${rest#"${rest%%[![:space:]]*}"}
            words+=("")
        fi
        ((i < COMP_CWORD)) || word=$rest
        words[${#words[@]} - 1]+=$word
        rest=${rest#"$word"}
    done
    local found begun=${words[${#words[@]} - 1]}
    words=("${words[@]#[\'\"]}")
    words=("${words[@]%[\'\"]}")
    found=$(LIBVIRT_AUTOSTART=0 command foundry __complete "$((${#words[@]} - 1))" -- "${words[@]}" 2>/dev/null) || return 0
    COMPREPLY=()
    if [[ $found == '<files>' ]]; then
        compopt -o default -o filenames
        return 0
    fi
    while IFS=$'\t' read -r word _; do
        # Readline replaces what is behind the last break only.
        [[ -z $word ]] || COMPREPLY+=("${word#"${begun%"$2"}"}")
    done <<<"$found"
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace
    fi
}
complete -o nosort -F _foundry foundry
