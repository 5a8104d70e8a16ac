// JPEG through libjpeg-turbo, whose errors are jumps.
// SPDX-License-Identifier: Apache-2.0

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "curta_image_files.h"
#include "orientation.h"

// More scans than this make a small file take minutes.
enum { LARGEST_SCAN = 500 };

typedef struct {
  struct jpeg_error_mgr base;
  jmp_buf escape;
  char *message;
} jpeg_errors;

static void give_up(j_common_ptr info) {
  jpeg_errors *errors = (jpeg_errors *)info->err;
  char text[JMSG_LENGTH_MAX];
  errors->base.format_message(info, text);
  snprintf(errors->message, 256, "%s", text);
  longjmp(errors->escape, 1);
}

// Warnings are what the library makes up pixels for; those that leave the pixels alone pass.
static void judge(j_common_ptr info, int level) {
  if (level >= 0)
    return;
  switch (info->err->msg_code) {
  case JWRN_EXTRANEOUS_DATA:
  case JWRN_ADOBE_XFORM:
  case JWRN_TOO_MUCH_DATA:
  case JWRN_JFIF_MAJOR:
    return;
  default:
    give_up(info);
  }
}

// The orientation in the first Exif segment; 1 without one.
static uint32_t orientation(j_decompress_ptr info) {
  for (jpeg_saved_marker_ptr marker = info->marker_list; marker; marker = marker->next) {
    if (marker->marker == JPEG_APP0 + 1 && marker->data_length >= 4 &&
        memcmp(marker->data, "Exif", 4) == 0)
      return curta_exif_orientation(marker->data, marker->data_length);
  }
  return 1;
}

static void watch_scans(j_common_ptr info) {
  if (info->is_decompressor && ((j_decompress_ptr)info)->input_scan_number > LARGEST_SCAN) {
    jpeg_errors *errors = (jpeg_errors *)info->err;
    snprintf(errors->message, 256, "it has more than %d scans", LARGEST_SCAN);
    longjmp(errors->escape, 1);
  }
}

int32_t curta_read_jpeg(const uint8_t *bytes, size_t count, curta_picture *picture) {
  struct jpeg_decompress_struct info;
  struct jpeg_progress_mgr progress = {0};
  jpeg_errors errors;
  picture->pixels = NULL;
  picture->message[0] = 0;
  info.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = give_up;
  errors.base.emit_message = judge;
  errors.message = picture->message;
  if (setjmp(errors.escape)) {
    jpeg_destroy_decompress(&info);
    curta_picture_free(picture);
    return CURTA_PICTURE_DAMAGED;
  }
  jpeg_create_decompress(&info);
  progress.progress_monitor = watch_scans;
  info.progress = &progress;
  jpeg_mem_src(&info, bytes, (unsigned long)count);
  jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(&info, TRUE);
  const uint32_t turned = orientation(&info); // markers are gone after the last row
  picture->width = info.image_width;
  picture->height = info.image_height;
  int32_t status = CURTA_PICTURE_OK;
  if (info.image_width > picture->largest_side || info.image_height > picture->largest_side ||
      (uint64_t)info.image_width * info.image_height > picture->largest_area) {
    status = CURTA_PICTURE_TOO_LARGE;
  } else if (info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK) {
    snprintf(picture->message, 256, "its colours are CMYK");
    status = CURTA_PICTURE_UNSUPPORTED;
  }
  if (status != CURTA_PICTURE_OK) {
    jpeg_destroy_decompress(&info);
    return status;
  }
  info.out_color_space = info.jpeg_color_space == JCS_GRAYSCALE ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_start_decompress(&info);
  const size_t line = (size_t)info.output_width * (size_t)info.output_components;
  picture->channels = (uint32_t)info.output_components;
  picture->pixels = malloc(line * info.output_height);
  if (!picture->pixels) {
    jpeg_destroy_decompress(&info);
    return CURTA_PICTURE_MEMORY;
  }
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = picture->pixels + line * info.output_scanline;
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  status = curta_turn_upright(picture, turned);
  jpeg_destroy_decompress(&info);
  if (status != CURTA_PICTURE_OK)
    curta_picture_free(picture);
  return status;
}

void curta_picture_free(curta_picture *picture) {
  free(picture->pixels);
  picture->pixels = NULL;
}
