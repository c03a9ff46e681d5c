// Memory of the two devices, page-locked host memory, and copies that are still under way.
#pragma once
#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

namespace simgpu {

constexpr int DEVICES = 2;
constexpr size_t BLOCK = 512;  // bytes: alignment and granularity of CUDA's allocator
inline thread_local c10::DeviceIndex current = 0;

struct Use {
  std::atomic<size_t> allocated{0}, peak{0}, limit{SIZE_MAX};
};
inline std::array<Use, DEVICES> memory_use;

struct Header {
  size_t size;
  c10::DeviceIndex device;
};

inline void free_block(void* data) {
  if (!data) return;
  auto* header = reinterpret_cast<Header*>(static_cast<char*>(data) - BLOCK);
  memory_use[header->device].allocated -= header->size;
  free(header);
}

inline void* take_block(size_t bytes, c10::DeviceIndex device) {
  const size_t size = (bytes + BLOCK - 1) / BLOCK * BLOCK;
  auto& use = memory_use[device];
  TORCH_CHECK_WITH(OutOfMemoryError, use.allocated + size <= use.limit, "simgpu out of memory. Tried to allocate ", size,
                   " bytes; ", use.allocated.load(), " of ", use.limit.load(), " are in use.");
  auto* header = static_cast<Header*>(aligned_alloc(BLOCK, size + BLOCK));
  *header = {size, device};
  const size_t now = use.allocated += size;
  size_t before = use.peak;
  while (now > before && !use.peak.compare_exchange_weak(before, now)) {
  }
  return reinterpret_cast<char*>(header) + BLOCK;
}

struct DeviceMemory final : c10::DeviceAllocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes ? take_block(bytes, current) : nullptr;
    return {data, data, &free_block, c10::Device(c10::kPrivateUse1, current)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free_block; }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override {
    c10::CachingDeviceAllocator::DeviceStats stats;
    auto& bytes = stats.allocated_bytes[0];  // of all pools
    bytes.current = memory_use[device].allocated;
    bytes.peak = memory_use[device].peak;
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex device) override {
    memory_use[device].peak = memory_use[device].allocated.load();
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }
};
inline DeviceMemory device_memory;

inline std::mutex pinned_lock;
inline std::map<const char*, size_t> pinned_blocks;  // bytes by address

inline void free_pinned(void* data) {
  {
    std::lock_guard<std::mutex> guard(pinned_lock);
    pinned_blocks.erase(static_cast<char*>(data));
  }
  free(data);
}

struct PinnedMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    if (!bytes) return {nullptr, nullptr, &free_pinned, at::kCPU};
    void* data = aligned_alloc(BLOCK, (bytes + BLOCK - 1) / BLOCK * BLOCK);
    std::lock_guard<std::mutex> guard(pinned_lock);
    pinned_blocks[static_cast<char*>(data)] = bytes;
    return {data, data, &free_pinned, at::kCPU};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free_pinned; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }
};
inline PinnedMemory pinned_memory;

inline bool is_pinned(const void* data) {
  std::lock_guard<std::mutex> guard(pinned_lock);
  auto after = pinned_blocks.upper_bound(static_cast<const char*>(data));
  if (after == pinned_blocks.begin()) return false;
  auto [start, size] = *--after;
  return data < start + size;
}

// A copy to the host that nobody has waited for. Its values arrive at the next wait, so that a program which reads
// them earlier reads rubbish, as it might on a GPU.
struct PendingCopy {
  at::Tensor to, values;
};
inline std::mutex pending_lock;
inline std::vector<PendingCopy> pending;

inline void start_copy(const at::Tensor& to, const at::Tensor& values) {
  std::lock_guard<std::mutex> guard(pending_lock);
  std::memset(to.data_ptr(), 0xFF, to.nbytes());  // NaN, -1, 255
  pending.push_back({to, values});
}

inline void finish_copies() {
  std::lock_guard<std::mutex> guard(pending_lock);
  for (auto& [to, values] : pending) std::memcpy(to.data_ptr(), values.data_ptr(), to.nbytes());
  pending.clear();
}

}  // namespace simgpu
