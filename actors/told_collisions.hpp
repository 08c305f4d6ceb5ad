// Which collisions of a swarm are news: each path once, and again when it became worse. At most
// `most_told_paths` paths, so that a run of many panes on the same files floods no journal; that
// some are left out is news, too, once. summary.json has them all. No actor.
#pragma once

#include "messages/events.hpp"

#include <map>

namespace skep::actors {

inline constexpr std::size_t most_told_paths = 200;

class told_collisions {
public:
  struct news {
    std::vector<collision> tell;
    bool left_out = false; ///< For the first time, a path is not told.
  };
  /// Of what was found now; remembers what it answers.
  news of(const std::vector<collision>& met);

private:
  std::map<std::string, std::pair<std::size_t, overlap>> told_; ///< Path -> panes and level.
  bool left_out_ = false;
};

} // namespace skep::actors
