// The C functions of curta.h for images.
// SPDX-License-Identifier: Apache-2.0
// The names are those of the header.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CCurta
import CurtaFormat

@c @implementation
public func curta_session_image(
  _ pointer: OpaquePointer!, _ info: UnsafeMutablePointer<curta_image_info>!
) -> curta_status {
  guard let session = session(pointer), let info,
    info.pointee.struct_size == MemoryLayout<curta_image_info>.size
  else { return Status.badArgument.rawValue }
  guard let image = session.image else { return Status.unsupported.rawValue }
  info.pointee.height = image.height
  info.pointee.width = image.width
  info.pointee.channels = image.channels
  info.pointee.patch_height = image.patchHeight
  info.pointee.patch_width = image.patchWidth
  info.pointee.resize = image.resize.rawValue
  info.pointee.edge = image.edge
  info.pointee.filter = image.filter.rawValue
  info.pointee.largest_side = UInt32(truncatingIfNeeded: session.largestSide)
  return Status.ok.rawValue
}

@c @implementation
public func curta_set_image(
  _ pointer: OpaquePointer!, _ index: Int, _ pixels: UnsafePointer<UInt8>!, _ width: Int,
  _ height: Int, _ channels: Int, _ rowStride: Int
) -> curta_status {
  guard let session = session(pointer), let pixels else { return Status.badArgument.rawValue }
  do throws(CurtaError) {
    try session.setImage(
      index, pixels, width: width, height: height, channels: channels, rowStride: rowStride)
    return Status.ok.rawValue
  } catch {
    return error.status.rawValue
  }
}

@c @implementation
public func curta_step_images(_ pointer: OpaquePointer!, _ count: Int) -> curta_status {
  guard let session = session(pointer) else { return Status.badArgument.rawValue }
  do throws(CurtaError) {
    try session.stepImages(count)
    return Status.ok.rawValue
  } catch {
    return error.status.rawValue
  }
}
