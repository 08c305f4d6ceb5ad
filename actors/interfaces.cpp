#include "actors/interfaces.hpp"

namespace skep::actors {

caf::error to_caf(const error& e) {
  return {std::uint8_t{1}, caf::atom("skep"), caf::make_message(e)};
}

error from_caf(const caf::error& e) {
  if (e.category() == caf::atom("skep") && e.context().match_elements<error>())
    return e.context().get_as<error>(0);
  if (e == caf::sec::request_timeout) return make_error(errc::timed_out, "an actor did not answer");
  if (e == caf::sec::request_receiver_down || e == caf::exit_reason::user_shutdown)
    return make_error(errc::shutting_down);
  return make_error(errc::internal, to_string(e));
}

} // namespace skep::actors
