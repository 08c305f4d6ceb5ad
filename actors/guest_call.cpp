#include "actors/guest_call.hpp"

namespace skep::actors {

sandbox::command guest_command(const sandbox_context& ctx, std::vector<std::string> args,
                               std::chrono::milliseconds limit) {
  sandbox::command out;
  out.argv.reserve(args.size() + 1);
  out.argv.push_back(ctx.guest_path());
  for (auto& a : args)
    out.argv.push_back(std::move(a));
  out.limit = limit;
  return out;
}

} // namespace skep::actors
