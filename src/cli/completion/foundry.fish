# Completion of foundry for fish. Each TAB asks foundry itself, which looks and changes nothing.
function __foundry_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    set -l current (commandline --current-token --cut-at-cursor)
    set -l found (LIBVIRT_AUTOSTART=0 command foundry __complete (count $words) -- $words "$current" 2>/dev/null)
    if test "$found" = '<files>'
        __fish_complete_path "$current"
    else
        printf '%s\n' $found
    end
end
complete --command foundry --no-files --keep-order --arguments '(__foundry_complete)'
