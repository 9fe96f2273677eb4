#compdef foundry
# Completion of foundry for zsh. Each TAB asks foundry itself, which looks and changes nothing.
_foundry() {
    local -a found candidates
    local line
    found=("${(@f)$(LIBVIRT_AUTOSTART=0 command foundry __complete $((CURRENT - 1)) -- "${(@Q)words[1,CURRENT]}" 2>/dev/null)}")
    if [[ ${found[1]} == '<files>' ]]; then
        compset -P '--*='
        _files
        return
    fi
    for line in "${(@)found}"; do
        [[ -n $line ]] || continue
        # _describe takes what is behind a colon for the description.
        candidates+=("${${line%%$'\t'*}//:/\\:}${${(M)line%%$'\t'*}:+:${line#*$'\t'}}")
    done
    [[ ${#candidates} -gt 0 ]] && _describe -V 'foundry' candidates
}
if [[ ${funcstack[1]} == _foundry ]]; then
    _foundry "$@"
else
    compdef _foundry foundry
fi
