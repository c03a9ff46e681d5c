// Operators: a view of device memory as a CPU tensor, and the CPU's kernel for everything that has none of its own.
#pragma once
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/as_strided_native.h>
#include <torch/library.h>

#include <set>

#include "counting.h"
#include "memory.h"

namespace simgpu {

// Each device's own random numbers: the CPU's generator, seeded and advanced apart from the host's.
inline std::vector<at::Generator>& generators() {
  static std::vector<at::Generator> all = [] {
    std::vector<at::Generator> made;
    for (int device = 0; device < DEVICES; device++) made.push_back(at::detail::createCPUGenerator(0));
    return made;
  }();
  return all;
}

inline bool on_device(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().type() == c10::kPrivateUse1;
}

inline at::Tensor as_cpu(const at::Tensor& tensor) {
  if (!on_device(tensor)) return tensor;
  auto storage = tensor.storage();
  auto* owner = new c10::Storage(storage);
  auto release = [](void* kept) { delete static_cast<c10::Storage*>(kept); };
  c10::Storage shared(c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), storage.nbytes(),
      at::DataPtr(storage.mutable_data(), owner, release, at::kCPU), c10::GetAllocator(at::kCPU), true));
  using c10::DispatchKey;
  auto keys = tensor.is_inference()
      ? c10::DispatchKeySet(DispatchKey::CPU)
      : c10::DispatchKeySet({DispatchKey::CPU, DispatchKey::ADInplaceOrView, DispatchKey::AutogradCPU});
  auto alias = at::detail::make_tensor<at::TensorImpl>(std::move(shared), keys, tensor.dtype());
  auto* impl = alias.unsafeGetTensorImpl();
  impl->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
  if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) impl->set_wrapped_number(true);
  return alias;
}

inline at::Tensor allocate(at::IntArrayRef size, at::IntArrayRef stride, at::ScalarType type, c10::Device device) {
  const auto before = current;
  current = device.index();
  auto made = at::detail::empty_strided_generic(size, stride, &device_memory,
                                                c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), type);
  current = before;
  return made;
}

// A copy of a CPU tensor in device memory, with the same strides; undefined tensors stay so.
inline at::Tensor to_device(const at::Tensor& cpu, c10::Device device) {
  if (!cpu.defined()) return cpu;
  auto made = allocate(cpu.sizes(), cpu.strides(), cpu.scalar_type(), device);
  at::AutoDispatchBelowADInplaceOrView below;
  as_cpu(made).copy_(cpu);
  return made;
}

template <class Function>
c10::IValue map_tensors(const c10::IValue& value, Function function) {
  if (value.isTensor()) return function(value.toTensor());
  if (value.isTensorList()) {
    c10::List<at::Tensor> mapped;
    for (const at::Tensor& tensor : value.toTensorVector()) mapped.push_back(function(tensor));
    return mapped;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> mapped;
    for (std::optional<at::Tensor> tensor : value.toOptionalTensorList())
      mapped.push_back(tensor ? std::optional<at::Tensor>(function(*tensor)) : tensor);
    return mapped;
  }
  return value;
}

// The device of an operator's arguments; as on CUDA, only numbers may come from elsewhere.
inline c10::Device common_device(const std::string& name, const std::vector<c10::IValue>& arguments) {
  c10::Device found(c10::kPrivateUse1, -1);
  for (const auto& argument : arguments) {
    if (argument.isDevice() && argument.toDevice().type() == c10::kPrivateUse1) found = argument.toDevice();
    map_tensors(argument, [&](const at::Tensor& tensor) {
      if (on_device(tensor) && found.index() < 0) found = tensor.device();
      return tensor;
    });
  }
  if (found.index() < 0) found.set_index(current);
  for (const auto& argument : arguments) {
    map_tensors(argument, [&](const at::Tensor& tensor) {
      TORCH_CHECK(!tensor.defined() || !tensor.dim() || tensor.device() == found, "Expected all tensors to be on the ",
                  "same device, but found at least two devices, ", found, " and ", tensor.device(), "! (", name, ")");
      return tensor;
    });
  }
  return found;
}

// Kernels of CUDA that read a result on the host: sizes that depend on values.
inline long waits_of(const std::string& name, const std::vector<c10::IValue>& arguments) {
  static const std::set<std::string> once = {"nonzero", "masked_select", "_unique2", "unique_dim",
                                             "unique_consecutive", "is_nonzero", "equal"};
  if (once.count(name)) return 1;
  if (name == "bincount") return 2;  // smallest and largest value
  if (name != "_index_put_impl_" || arguments[2].toTensor().numel() == 1) return 0;  // one value: masked_fill
  long waits = 0;
  for (std::optional<at::Tensor> index : arguments[1].toOptionalTensorList())
    waits += index && index->defined() && index->scalar_type() == at::kBool;
  return waits;
}

// Arguments that the CPU's kernel has resized take its memory over.
inline void adopt_resized(const at::Tensor& original, const at::Tensor& cpu) {
  if (!on_device(original)) return;
  const bool same = original.sizes() == cpu.sizes() && original.strides() == cpu.strides() &&
      cpu.storage().data() == original.storage().data();
  if (same) return;
  auto* impl = original.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(to_device(cpu, original.device()).storage());
  impl->set_sizes_and_strides(cpu.sizes(), cpu.strides(), 0);
}

// A result of the CPU's kernel on the device: an argument that it wrote to, a view of one, or a copy.
inline at::Tensor give_back(const at::Tensor& result, const c10::AliasInfo* alias, const c10::FunctionSchema& schema,
                            const std::vector<c10::IValue>& arguments, c10::Device device) {
  for (size_t i = 0; alias && i < arguments.size(); i++) {
    const auto* other = schema.arguments()[i].alias_info();
    if (!other || !arguments[i].isTensor()) continue;
    const bool shares = std::any_of(alias->beforeSets().begin(), alias->beforeSets().end(),
                                    [&](const auto& set) { return other->beforeSets().count(set) > 0; });
    if (!shares) continue;
    const auto original = arguments[i].toTensor();
    if (alias->isWrite()) return original;
    if (result.storage().data() == original.storage().data())
      return at::native::as_strided_tensorimpl(original, result.sizes(), result.strides(), result.storage_offset());
  }
  return to_device(result, device);
}

inline bool is_generator(const c10::TypePtr& type) {
  return type->kind() == c10::TypeKind::OptionalType &&
      type->containedTypes()[0]->kind() == c10::TypeKind::GeneratorType;
}

inline bool is_view(const c10::FunctionSchema& schema) {
  const auto* alias = schema.returns().empty() ? nullptr : schema.returns()[0].alias_info();
  return alias && !alias->isWrite();
}

// The fallback of every operator that has no kernel of its own in backend.cpp.
inline void run_on_cpu(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const std::string name = schema.name().substr(schema.name().find("::") + 2);
  const size_t number = schema.arguments().size();
  const std::vector<c10::IValue> arguments(stack->end() - number, stack->end());
  const c10::Device device = common_device(name, arguments);
  if (!is_view(schema)) count_launch(name);
  for (long waits = waits_of(name, arguments); waits; waits--) {
    count_wait(name);
    finish_copies();
  }

  torch::jit::Stack values;
  for (size_t i = 0; i < number; i++) {
    if (arguments[i].isDevice()) values.emplace_back(at::Device(at::kCPU));
    else if (arguments[i].isNone() && is_generator(schema.arguments()[i].type()))
      values.emplace_back(generators()[device.index()]);
    else values.push_back(map_tensors(arguments[i], as_cpu));
  }
  const std::vector<c10::IValue> given(values);
  torch::jit::drop(*stack, number);
  {
    at::AutoDispatchBelowADInplaceOrView below;
    op.callBoxed(values);
  }
  for (size_t i = 0; i < number; i++) {
    const auto* alias = schema.arguments()[i].alias_info();
    if (alias && alias->isWrite() && arguments[i].isTensor()) adopt_resized(arguments[i].toTensor(), given[i].toTensor());
  }
  for (size_t i = 0; i < values.size(); i++) {
    const auto* alias = values[i].isTensor() ? schema.returns()[i].alias_info() : nullptr;
    stack->push_back(map_tensors(values[i], [&](const at::Tensor& result) {
      return give_back(result, alias, schema, arguments, device);
    }));
  }
}

}  // namespace simgpu
