// What the host asks of the device between start() and stop(): launches, waits and copies.
#pragma once
#include <c10/core/ScalarType.h>

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

namespace simgpu {

struct Copy {
  bool down;  // from the device to the host
  long bytes;  // that cross the bus
  std::string from, to;  // data types
  bool waits;  // the host waits for it
  bool host_converts;
};

struct Counts {
  std::map<std::string, long> launches, waits;
  std::vector<Copy> copies;
};

inline std::mutex counts_lock;
inline Counts counts;
inline std::atomic<bool> counting{false};

inline void count_launch(const std::string& name) {
  if (!counting) return;
  std::lock_guard<std::mutex> guard(counts_lock);
  counts.launches[name]++;
}

inline void count_wait(const std::string& cause) {
  if (!counting) return;
  std::lock_guard<std::mutex> guard(counts_lock);
  counts.waits[cause]++;
}

inline void count_copy(Copy copy) {
  if (copy.waits) count_wait(copy.down ? "copy to the host" : "copy to the device");
  if (!counting) return;
  std::lock_guard<std::mutex> guard(counts_lock);
  counts.copies.push_back(std::move(copy));
}

}  // namespace simgpu
