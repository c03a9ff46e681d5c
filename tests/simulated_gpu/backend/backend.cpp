// A simulated GPU: a PrivateUse1 device whose tensors lie in host memory and are computed by the CPU's kernels.
// It counts launches, waits and copies, and refuses operators that mix devices.
#include <ATen/autocast_mode.h>
#include <ATen/ops/view_native.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include "runtime.h"

namespace simgpu {
using c10::IntArrayRef;
using c10::SymIntArrayRef;
using at::Tensor;
using std::optional;

c10::Device or_current(optional<c10::Device> device) {
  return {c10::kPrivateUse1, device && device->index() >= 0 ? device->index() : current};
}

Tensor empty(IntArrayRef size, optional<at::ScalarType> type, optional<at::Layout>, optional<c10::Device> device,
             optional<bool>, optional<at::MemoryFormat> format) {
  const auto before = exchange(or_current(device).index());
  auto made = at::detail::empty_generic(size, &device_memory, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                        c10::dtype_or_default(type), format);
  current = before;
  return made;
}

Tensor empty_strided(IntArrayRef size, IntArrayRef stride, optional<at::ScalarType> type, optional<at::Layout>,
                     optional<c10::Device> device, optional<bool>) {
  return allocate(size, stride, c10::dtype_or_default(type), or_current(device));
}

// Blocking copies are converted on the host, others on the device (aten/src/ATen/native/cuda/Copy.cu).
Tensor copy_from(const Tensor& source, const Tensor& target, bool non_blocking) {
  at::AutoDispatchBelowADInplaceOrView below;
  const Tensor from = as_cpu(source), to = as_cpu(target);
  if (on_device(source) && on_device(target)) {
    count_launch("copy_");
    to.copy_(from);
    return target;
  }
  const bool down = on_device(source), converts = source.dtype() != target.dtype();
  const Tensor& host = down ? target : source;
  const bool waits = !non_blocking || !is_pinned(host.storage().data());
  const bool as_target = down ? non_blocking : !non_blocking;
  count_copy({down, static_cast<long>(target.numel() * (as_target ? target : source).element_size()),
              c10::toString(source.scalar_type()), c10::toString(target.scalar_type()), waits,
              converts && !non_blocking});
  if (converts && non_blocking) count_launch("copy_");
  if (waits) finish_copies();
  if (waits || !down || !to.is_non_overlapping_and_dense()) to.copy_(from);
  else start_copy(to, at::empty_like(to).copy_(from));
  return target;
}

at::Scalar local_scalar(const Tensor& self) {
  wait("item");
  at::AutoDispatchBelowADInplaceOrView below;
  return as_cpu(self).item();
}

Tensor& set_storage(Tensor& self, at::Storage source, int64_t offset, IntArrayRef size, IntArrayRef stride) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(std::move(source));
  if (stride.empty()) {
    impl->set_storage_offset(offset);
    impl->set_sizes_contiguous(size);
  } else {
    impl->set_sizes_and_strides(size, stride, offset);
  }
  return self;
}
Tensor& set_whole_storage(Tensor& self, at::Storage source) {
  const auto number = static_cast<int64_t>(source.nbytes() / self.itemsize());
  return set_storage(self, std::move(source), 0, {number}, {1});
}
Tensor& set_tensor(Tensor& self, const Tensor& source) {
  return set_storage(self, source.storage(), source.storage_offset(), source.sizes(), source.strides());
}
bool is_set_to(const Tensor& self, const Tensor& other) {
  return self.storage().unsafeGetStorageImpl() == other.storage().unsafeGetStorageImpl() &&
      self.sizes() == other.sizes() && self.strides() == other.strides();
}

const Tensor& resize(const Tensor& self, IntArrayRef size, optional<at::MemoryFormat> format) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_sizes_contiguous(size);
  if (format && *format != at::MemoryFormat::Preserve) impl->empty_tensor_restride(*format);
  const size_t bytes = (self.numel() + self.storage_offset()) * self.itemsize();
  if (bytes > self.storage().nbytes()) Hooks().resizePrivateUse1Bytes(self.storage(), bytes);
  return self;
}

Tensor as_strided(const Tensor& self, IntArrayRef size, IntArrayRef stride, optional<int64_t> offset) {
  return at::native::as_strided_tensorimpl(self, size, stride, offset);
}
Tensor reshape_alias(const Tensor& self, IntArrayRef size, IntArrayRef stride) {
  return at::native::as_strided_tensorimpl(self, size, stride, self.storage_offset());
}
Tensor alias(const Tensor& self) {
  return at::native::as_strided_tensorimpl(self, self.sizes(), self.strides(), self.storage_offset());
}

// torch calls convolutions of other backends by names that have no kernel on the CPU.
Tensor convolution(const Tensor& input, const Tensor& weight, const optional<Tensor>& bias, SymIntArrayRef stride,
                   SymIntArrayRef padding, SymIntArrayRef dilation, bool transposed, SymIntArrayRef output_padding,
                   c10::SymInt groups) {
  const auto device = common_device("convolution", {input, weight, bias});
  count_launch("convolution");
  at::AutoDispatchBelowADInplaceOrView below;
  const auto shift = bias ? optional<Tensor>(as_cpu(*bias)) : bias;
  return to_device(at::convolution_symint(as_cpu(input), as_cpu(weight), shift, stride, padding, dilation, transposed,
                                          output_padding, groups), device);
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(
    const Tensor& gradient, const Tensor& input, const Tensor& weight, SymIntArrayRef stride, SymIntArrayRef padding,
    SymIntArrayRef dilation, bool transposed, SymIntArrayRef output_padding, c10::SymInt groups,
    std::array<bool, 3> wanted) {
  const auto device = common_device("convolution_backward", {gradient, input, weight});
  for (bool one : wanted)
    if (one) count_launch("convolution_backward");
  at::AutoDispatchBelowADInplaceOrView below;
  const std::vector<c10::SymInt> bias = {gradient.sym_size(1)};
  auto [of_input, of_weight, of_bias] = at::convolution_backward_symint(
      as_cpu(gradient), as_cpu(input), as_cpu(weight), at::OptionalSymIntArrayRef(bias), stride, padding, dilation,
      transposed, output_padding, groups, wanted);
  return {to_device(of_input, device), to_device(of_weight, device), to_device(of_bias, device)};
}
}  // namespace simgpu

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&simgpu::run_on_cpu>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", TORCH_FN(simgpu::empty));
  library.impl("empty_strided", TORCH_FN(simgpu::empty_strided));
  library.impl("_copy_from", TORCH_FN(simgpu::copy_from));
  library.impl("_local_scalar_dense", TORCH_FN(simgpu::local_scalar));
  library.impl("set_.source_Storage_storage_offset", TORCH_FN(simgpu::set_storage));
  library.impl("set_.source_Storage", TORCH_FN(simgpu::set_whole_storage));
  library.impl("set_.source_Tensor", TORCH_FN(simgpu::set_tensor));
  library.impl("is_set_to", TORCH_FN(simgpu::is_set_to));
  library.impl("resize_", TORCH_FN(simgpu::resize));
  library.impl("as_strided", TORCH_FN(simgpu::as_strided));
  library.impl("_reshape_alias", TORCH_FN(simgpu::reshape_alias));
  library.impl("alias", TORCH_FN(simgpu::alias));
  library.impl("view", TORCH_FN(at::native::view));
  library.impl("convolution_overrideable", TORCH_FN(simgpu::convolution));
  library.impl("convolution_backward_overrideable", TORCH_FN(simgpu::convolution_backward));
  // One launch for a list of tensors, as on CUDA; torch would call an operator for each of them.
  for (const auto& name : c10::Dispatcher::singleton().getAllOpNames()) {
    for (const char* start : {"aten::_foreach_", "aten::_fused_sgd_", "aten::_amp_"}) {
      if (name.name.rfind(start, 0) != 0) continue;
      const auto full = name.name.substr(6) + (name.overload_name.empty() ? "" : "." + name.overload_name);
      library.impl(full.c_str(), torch::CppFunction::makeFromBoxedFunction<&simgpu::run_on_cpu>());
    }
  }
}

// The lists of CUDA.
TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, library) { library.fallback(torch::CppFunction::makeFallthrough()); }
TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
  using namespace at::autocast;
#define LOWER(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, lower_precision_fp)
  AT_FORALL_LOWER_PRECISION_FP(LOWER)
#define FLOAT32(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32)
  AT_FORALL_FP32(FLOAT32)
#define FLOAT32_OUTPUT(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32_set_opt_dtype)
  AT_FORALL_FP32_SET_OPT_DTYPE(FLOAT32_OUTPUT)
#define WIDEST(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, promote)
  AT_FORALL_PROMOTE(WIDEST)
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  using namespace simgpu;
  at::RegisterPrivateUse1HooksInterface(new Hooks());
  m.attr("DEVICES") = DEVICES;
  m.def("start", [] {
    std::lock_guard<std::mutex> guard(counts_lock);
    counts = {};
    counting = true;
  });
  m.def("stop", [] {
    std::lock_guard<std::mutex> guard(counts_lock);
    counting = false;
    std::vector<std::tuple<bool, long, std::string, std::string, bool, bool>> copies;
    for (const auto& c : counts.copies) copies.emplace_back(c.down, c.bytes, c.from, c.to, c.waits, c.host_converts);
    return std::make_tuple(counts.launches, counts.waits, copies);
  });
  m.def("allocated", [](int device) { return memory_use[device].allocated.load(); });
  m.def("peak", [](int device) { return memory_use[device].peak.load(); });
  m.def("reset_peak", [](int device) { memory_use[device].peak = memory_use[device].allocated.load(); });
  m.def("set_limit", [](int device, size_t bytes) { memory_use[device].limit = bytes; });
  m.def("limit", [](int device) { return memory_use[device].limit.load(); });
  m.def("current", [] { return static_cast<int>(current); });
  m.def("set_current", [](int device) { exchange(device); });
  m.def("synchronize", [] { wait("device"); });
  m.def("get_rng_state", [](int device) { return generators()[device].get_state(); });
  m.def("set_rng_state", [](int device, const at::Tensor& state) { generators()[device].set_state(state); });
  m.def("seed", [](int device, uint64_t seed) { generators()[device].set_current_seed(seed); });
}
