// Asio's and Beast's headers are most of this room's compile time.
#pragma once

#include "host/http.hpp"
#include "host/spec.hpp"
