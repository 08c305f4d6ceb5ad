#include "actors/shell.hpp"

namespace skep::actors {
namespace {

/// $1 is an epoch, $2 the file that names the newest one, the others are folders: goes to one of
/// these and becomes a shell, not a login shell, whose profile would take away the agents' PATH.
///
/// What stays beside it looks once a second. The shell ends when its daemon is not the newest any
/// more, and like the window of a terminal that is closed, it takes along what it left on its
/// terminal: a job in the background would hold the terminal, and its end would not be seen. Only
/// /proc says so everywhere. A dead one may stay a zombie until its terminal is free.
constexpr const char* script = R"(
epoch=$1 newest=$2
shift 2
for d in "$@"; do cd "$d" 2>/dev/null && there=1 && break; done
[ -n "$there" ] || echo "skep: $1 is not there; this is $PWD"
(
  trap '' HUP
  read -r me rest </proc/self/stat
  while read -r line </proc/$$/stat; do
    case ${line##*) } in [ZX]*) break ;; esac
    read -r now rest <"$newest" && [ "$now" -gt "$epoch" ] && break
    sleep 1
  done
  for p in /proc/[0-9]*; do
    read -r line <"$p/stat" || continue
    set -- ${line##*) }
    [ "$4" = $$ ] && [ "${p#/proc/}" != "$me" ] && kill -HUP "${p#/proc/}"
  done
) </dev/null >/dev/null 2>&1 &
command -v bash >/dev/null 2>&1 && exec bash
exec sh
)";

} // namespace

attach_plan shell_plan(const shell_open_request& r, const std::vector<std::string>& folders,
                       std::uint64_t epoch) {
  attach_plan out;
  out.attachment = r.attachment;
  out.argv = {
      "/bin/sh", "-c", script, "sh", std::to_string(epoch), std::string{inside::panes} + "/epoch"};
  out.argv.insert(out.argv.end(), folders.begin(), folders.end());
  out.size = {static_cast<std::uint16_t>(r.columns), static_cast<std::uint16_t>(r.rows)};
  out.is_shell = true;
  return out;
}

} // namespace skep::actors
