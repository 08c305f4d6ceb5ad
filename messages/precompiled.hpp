// What most files of most rooms read anyway, parsed once (cmake/SkepPrecompiled.cmake). Not to be
// included by hand: every file includes what it uses.
#pragma once

#include "messages/commands.hpp"
#include "messages/follow.hpp"
#include "messages/json.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>
