// Precompiled for skep_envd alone; nothing includes it by name.
#pragma once

#include "host/envd/async.hpp"
#include "messages/json.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/write.hpp>
