"""A small tree of each format of labels, with the masks that its own tools make of it.

A maker writes images and labels below a folder and says how they are prepared and which
mask each image has: painted with the rasteriser of the format itself, not with ours.
"""

import base64
import io
import json
import math
import warnings
import zipfile
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

SIZES = {"a": (30, 41), "b": (26, 33), "c": (24, 52)}  # height, width
VOID = 255


class Made(NamedTuple):
    """Options of `resseg data`, class names, and the masks by name."""

    options: tuple
    classes: tuple[str, ...]
    masks: dict[str, np.ndarray]


def random(name):
    return np.random.default_rng(ord(name[0]))


def picture(path, size, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed + sum(size)).integers(0, 256, (*size, 3))
    Image.fromarray(values.astype(np.uint8)).save(path)


def pictures(folder, names="abc", suffix=".png"):
    for name in names:
        picture(folder / f"{name}{suffix}", SIZES[name])


def outline(generator, size, corners):
    """Corners of which some lie outside the image."""
    scale = np.array(size[::-1]) * 1.3
    return (generator.random((corners, 2)) * scale - 3).round(2).tolist()


def canvas(size):
    return np.zeros(size, np.uint8)


def by_pillow(size, kind, *args):
    image = Image.new("L", size[::-1])
    getattr(ImageDraw.Draw(image), kind)(*args, fill=1, outline=1)
    return np.array(image).astype(bool)


def by_pycocotools(size, *polygons):
    coco = pytest.importorskip("pycocotools.mask")
    flat = [np.ravel(polygon).tolist() for polygon in polygons]
    union = coco.merge(coco.frPyObjects(flat, *size))
    with warnings.catch_warnings():  # of what NumPy 2 asks pycocotools for
        warnings.simplefilter("ignore", DeprecationWarning)
        return coco.decode(union).astype(bool)


def runs(flat):
    """Run lengths, beginning with what is not covered."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    return np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()


def coco(root):
    tool = pytest.importorskip("pycocotools.mask")
    pictures(root / "images")
    images, annotations, masks = [], [], {}
    for key, (name, size) in enumerate(SIZES.items(), start=10):
        height, width = size
        images.append(
            {"id": key, "file_name": f"{name}.png", "height": height, "width": width}
        )
        generator, mask = random(name), canvas(size)
        blob = generator.random(size) > 0.6
        blob[: height // 2] = False
        parts = [outline(generator, size, 5), outline(generator, size, 4)]
        packed = tool.encode(np.asfortranarray(blob.astype(np.uint8)))
        crowd = {"size": [*size], "counts": runs(np.ones(size).ravel(order="F"))}
        triangle = outline(generator, size, 3)
        entries = [
            (7, [np.ravel(part).tolist() for part in parts], 0),
            (3, {"size": [*size], "counts": packed["counts"].decode()}, 0),
            (3, {"size": [*size], "counts": runs(blob.T.ravel())}, 0),
            (7, [np.ravel(triangle).tolist()], 0),
            (3, crowd, 1),
        ]
        for category, segmentation, iscrowd in entries:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": key,
                    "category_id": category,
                    "segmentation": segmentation,
                    "iscrowd": iscrowd,
                }
            )
        mask[:] = VOID
        mask[by_pycocotools(size, *parts)] = 2
        mask[blob] = 1
        mask[by_pycocotools(size, triangle)] = 2
        masks[name] = mask
    categories = [{"id": 7, "name": "cell"}, {"id": 3, "name": "edge"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "instances.json").write_text(json.dumps(content))
    options = ("--images", root / "images", "--labels", root / "instances.json")
    return Made(options, ("background", "edge", "cell"), masks)


def labelme(root):
    masks = {}
    for name, size in SIZES.items():
        picture(root / f"{name}.jpg", size)
        height, width = size
        generator, mask = random(name), canvas(size)
        polygon = outline(generator, size, 6)
        box = [[20.5, 11.2], [3.4, 2.6]]
        circle = [[12.0, 10.0], [15.0, 14.0]]
        patch = generator.random((6, 9)) > 0.4
        file = io.BytesIO()
        Image.fromarray(patch).save(file, "PNG")
        shapes = [
            {"label": "cell", "points": polygon, "shape_type": "polygon"},
            {"label": "edge", "points": box, "shape_type": "rectangle"},
            {"label": "cell", "points": circle, "shape_type": "circle"},
            {
                "label": "edge",
                "points": [[4, 5], [12, 10]],
                "shape_type": "mask",
                "mask": base64.b64encode(file.getvalue()).decode(),
            },
            {"label": "_background_", "points": [[9, 0], [14, 0], [14, 9]]},
            {"label": "__ignore__", "points": [[0, 0], [5, 0], [0, 5]]},
        ]
        content = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": f"..\\photos\\{name}.jpg",
            "imageData": "bm90IGFuIGltYWdl",
            "imageHeight": height,
            "imageWidth": width,
        }
        (root / f"{name}.json").write_text(json.dumps(content))
        mask[by_pillow(size, "polygon", [tuple(point) for point in polygon])] = 1
        mask[by_pillow(size, "rectangle", [3.4, 2.6, 20.5, 11.2])] = 2
        radius = math.hypot(3, 4)
        around = [12 - radius, 10 - radius, 12 + radius, 10 + radius]
        mask[by_pillow(size, "ellipse", around)] = 1
        mask[5:11, 4:13][patch] = 2
        mask[by_pillow(size, "polygon", [(9, 0), (14, 0), (14, 9)])] = 0
        mask[by_pillow(size, "polygon", [(0, 0), (5, 0), (0, 5)])] = VOID
        masks[name] = mask
    return Made(("--labels", root), ("background", "cell", "edge"), masks)


def cvat(root):
    pictures(root / "images")
    masks, entries = {}, []
    for key, (name, size) in enumerate(SIZES.items()):
        height, width = size
        generator, mask = random(name), canvas(size)
        polygon = outline(generator, size, 7)
        patch = generator.random((5, 8)) > 0.5
        points = ";".join(f"{x},{y}" for x, y in polygon)
        counts = ", ".join(map(str, runs(patch.ravel())))
        entries.append(
            f'<image id="{key}" name="images/{name}.png" width="{width}" '
            f'height="{height}"><tag label="blurred"/>'
            f'<polygon label="cell" z_order="1" points="{points}"/>'
            '<box label="edge" xtl="2.5" ytl="3.5" xbr="20.25" ybr="12.0" z_order="0"/>'
            '<box label="cell" xtl="10" ytl="8" xbr="22" ybr="14" rotation="30"/>'
            '<ellipse label="edge" cx="15.5" cy="10" rx="6" ry="4" z_order="2"/>'
            f'<mask label="cell" rle="{counts}" left="3" top="4" width="8" height="5" '
            'z_order="3"/></image>'
        )
        mask[by_pycocotools(size, corners(2.5, 3.5, 20.25, 12))] = 2
        sine, cosine = 0.5, math.sqrt(3) / 2
        box = [
            (16 + dx * cosine - dy * sine, 11 + dx * sine + dy * cosine)
            for dx, dy in ((-6, -3), (6, -3), (6, 3), (-6, 3))
        ]
        mask[by_pycocotools(size, box)] = 1
        mask[by_pycocotools(size, polygon)] = 1
        angles = np.linspace(0, 2 * np.pi, 720)
        oval = np.stack([15.5 + 6 * np.cos(angles), 10 + 4 * np.sin(angles)], axis=1)
        mask[by_pycocotools(size, oval)] = 2
        mask[4:9, 3:11][patch] = 1
        masks[name] = mask
    names = "".join(f"<label><name>{n}</name></label>" for n in ("cell", "edge"))
    (root / "annotations.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>'
        f"<meta><task><labels>{names}</labels></task></meta>"
        f"{''.join(entries)}</annotations>"
    )
    options = ("--images", root / "images", "--labels", root / "annotations.xml")
    return Made(options, ("background", "cell", "edge"), masks)


def corners(left, top, right, bottom):
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def brush(alpha):
    """Packed run lengths of four channels, as Label Studio writes them."""
    channels = np.repeat(alpha[..., None], 4, axis=2)
    channels[: len(alpha) // 4, :, :3] = 9  # colours are not what counts
    values = channels.ravel()
    bits = [f"{values.size:032b}", f"{7:05b}", *(f"{n - 1:04b}" for n in (3, 4, 8, 16))]
    place = 0
    while place < values.size:
        length = 1
        while (
            place + length < values.size
            and values[place + length] == values[place]
            and length < 1 << 16
        ):
            length += 1
        if length <= 4 and place + 8 <= values.size:  # written one by one
            length = 8
            bits += ["0", "00", f"{length - 1:03b}"]
            bits += [f"{value:08b}" for value in values[place : place + length]]
        else:
            bits += ["1", "11", f"{length - 1:016b}", f"{values[place]:08b}"]
        place += length
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


def labelstudio(root):
    pictures(root / "images")
    masks, tasks = {}, []
    for key, (name, size) in enumerate(SIZES.items(), start=5):
        height, width = size
        generator, mask = random(name), canvas(size)
        polygon = (generator.random((5, 2)) * 100).round(3)
        alpha = ((generator.random(size) > 0.8) * 200).astype(np.uint8)
        alpha[height // 3 :] = 0
        scale = np.array([width, height])
        common = {
            "original_width": width,
            "original_height": height,
            "from_name": "tag",
            "to_name": "image",
        }
        box = {"x": 10, "y": 20, "width": 40, "height": 30, "rotation": 90}
        oval = {"x": 60, "y": 50, "radiusX": 20, "radiusY": 30, "rotation": 0}
        results = [
            {"type": "polygonlabels", "value": {"points": polygon.tolist()}},
            {"type": "rectanglelabels", "value": box},
            {"type": "ellipselabels", "value": oval},
            {"type": "brushlabels", "value": {"format": "rle", "rle": brush(alpha)}},
        ]
        named = ("cell", "edge", "cell", "edge")
        for result, label in zip(results, named, strict=True):
            result["value"][result["type"]] = [label]
            result |= common
        results.append({"type": "choices", "value": {"choices": ["good"]}, **common})
        done = {"id": 1, "was_cancelled": False, "result": results}
        skipped = {"id": 2, "was_cancelled": True, "result": []}
        image = f"/data/upload/1/0a1b2c3d-{name}.png"
        tasks.append(
            {"id": key, "data": {"image": image}, "annotations": [done, skipped]}
        )
        mask[by_pycocotools(size, polygon / 100 * scale)] = 1
        x, y = 10 * width / 100, 20 * height / 100
        across, down = 40 * width / 100, 30 * height / 100
        turned = [(x, y), (x, y + across), (x - down, y + across), (x - down, y)]
        mask[by_pycocotools(size, turned)] = 2
        angles = np.linspace(0, 2 * np.pi, 720)
        middle, radii = np.array([0.6, 0.5]) * scale, np.array([0.2, 0.3]) * scale
        shape = middle + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        mask[by_pycocotools(size, shape)] = 1
        mask[alpha > 0] = 2
        masks[name] = mask
    (root / "export.json").write_text(json.dumps(tasks))
    options = ("--images", root / "images", "--labels", root / "export.json")
    return Made(options, ("background", "cell", "edge"), masks)


def yolo(root):
    masks = {}
    for name, size in SIZES.items():
        split = "val" if name == "c" else "train"
        picture(root / "images" / split / f"{name}.png", size)
        generator, mask, lines = random(name), canvas(size), []
        for category in (1, 0, 1):
            polygon = generator.random((5, 2)).astype(np.float32).round(4)
            words = " ".join(f"{value:.4f}" for value in polygon.ravel())
            lines.append(f"{category} {words}")
            shares = np.array(words.split(), np.float32).reshape(-1, 2)
            shares *= np.array(size[::-1], np.float32)
            cv2.fillPoly(mask, [shares.astype(np.int32)], category + 1)
        folder = root / "labels" / split
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
        masks[name] = mask
    (root / "data.yaml").write_text(
        "path: ../somewhere/else\ntrain: ../images/train\nval: images/val\n"
        "names:\n  0: cell\n  1: edge\n"
    )
    return Made(("--labels", root / "data.yaml"), ("background", "cell", "edge"), masks)


def cityscapes(root):
    masks = {}
    for name, size in SIZES.items():
        split = "val" if name == "c" else "train"
        picture(root / "leftImg8bit" / split / "x" / f"{name}_leftImg8bit.png", size)
        generator, objects = random(name), []
        image = Image.new("L", size[::-1], VOID)
        draw = ImageDraw.Draw(image)
        drawn = (("road", 0), ("polegroup", VOID), ("cargroup", 13), ("sky", 10))
        for label, value in drawn:
            polygon = outline(generator, size, 5)
            objects.append({"label": label, "polygon": polygon})
            draw.polygon([tuple(point) for point in polygon], fill=value)
        whole = [[0, 0], [size[1], 0], [size[1], size[0]], [0, size[0]]]
        objects.append({"label": "road", "polygon": whole, "deleted": 1})
        objects.append({"label": "license plate", "polygon": whole})
        content = {"imgHeight": size[0], "imgWidth": size[1], "objects": objects}
        file = root / "gtFine" / split / "x" / f"{name}_gtFine_polygons.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
        masks[f"{name}_leftImg8bit"] = np.array(image)
    options = ("--images", root / "leftImg8bit", "--labels", root / "gtFine")
    return Made(options, (), masks)


def geojson(root, projected=False):
    rasterio = pytest.importorskip("rasterio")
    from rasterio.features import rasterize
    from rasterio.transform import from_origin
    from rasterio.warp import transform_geom

    system, masks, features, shapes = "EPSG:32632", {}, [], {}
    for number, (name, size) in enumerate(SIZES.items()):
        transform = from_origin(500_000 + 900 * number, 5_400_000, 10, 10)
        file = root / "images" / f"{name}.tif"
        file.parent.mkdir(parents=True, exist_ok=True)
        values = random(name).integers(0, 256, (3, *size)).astype(np.uint8)
        with rasterio.open(
            file, "w", "GTiff", size[1], size[0], 3, system, transform, "uint8"
        ) as raster:
            raster.write(values)
        shapes[name] = []
        for label, index in (("cell", 1), ("edge", 2)):
            x, y = random(name).random(2) * 60 + (0, 40 * index)
            ring = [(0, 0), (160, 20), (180, 130), (30, 120), (0, 0)]
            hole = [(40, 40), (90, 45), (80, 90), (40, 40)]
            rings = [
                [[transform.c + x + dx, transform.f - y - dy] for dx, dy in part]
                for part in (ring, hole)
            ]
            geometry = {"type": "Polygon", "coordinates": rings}
            if projected:
                geometry = transform_geom(system, "OGC:CRS84", geometry)
            features.append(
                {
                    "type": "Feature",
                    "geometry": geometry,
                    "properties": {"class": label, "area": 3},
                }
            )
            if projected:
                geometry = transform_geom("OGC:CRS84", system, geometry)
            shapes[name].append((geometry, index))
        masks[name] = rasterize(
            shapes[name], size, transform=transform, all_touched=False, dtype="uint8"
        )
    content = {"type": "FeatureCollection", "features": features}
    if not projected:
        content["crs"] = {"type": "name", "properties": {"name": system}}
    (root / "fields.geojson").write_text(json.dumps(content))
    options = ("--images", root / "images", "--labels", root / "fields.geojson")
    return Made(options, ("background", "cell", "edge"), masks)


def inside(size, polygon):
    """Pixels whose centre is in a polygon, one by one, as ImageJ counts crossings."""
    mask = np.zeros(size, bool)
    edges = list(zip(polygon, [*polygon[1:], polygon[0]], strict=True))
    for row in range(size[0]):
        crossings = []
        for (x1, y1), (x2, y2) in edges:
            low, high = sorted((math.floor(y1 + 0.5), math.floor(y2 + 0.5)))
            if low <= row < high:
                crossings.append(x1 + (row + 0.5 - y1) * (x2 - x1) / (y2 - y1))
        for column in range(size[1]):
            left = sum(math.floor(x + 0.5 + 1e-8) <= column for x in crossings)
            mask[row, column] = left % 2
    return mask


def imagej(root):
    roifile = pytest.importorskip("roifile")
    pictures(root / "images", suffix=".tif")
    (root / "rois").mkdir()
    masks = {}
    for name, size in SIZES.items():
        generator, mask = random(name), canvas(size)
        polygon = (generator.random((6, 2)) * size[::-1]).round().astype(int)
        loose = (generator.random((7, 2)) * np.array(size[::-1]) * 0.9).astype("f4")
        first = roifile.ImagejRoi.frompoints(polygon, name="cell-1")
        second = roifile.ImagejRoi.frompoints(loose, name="edge")
        oval = roifile.ImagejRoi(
            roitype=roifile.ROI_TYPE.OVAL, left=3, top=4, right=14, bottom=12
        )
        oval.name = "cell-2"
        box = roifile.ImagejRoi(
            roitype=roifile.ROI_TYPE.RECT, left=18, top=2, right=25, bottom=9
        )
        box.name = "edge-7"
        with zipfile.ZipFile(root / "rois" / f"{name}.zip", "w") as archive:
            for number, roi in enumerate((first, second, oval, box)):
                archive.writestr(f"{number:04d}.roi", roi.tobytes())
        mask[inside(size, polygon.tolist())] = 1
        mask[inside(size, np.asarray(second.coordinates(), float).tolist())] = 2
        rows, columns = np.indices(size)
        centred = ((columns - 8) / 5.5) ** 2 + ((rows - 7.5) / 4) ** 2
        mask[centred <= 1] = 1
        mask[2:9, 18:25] = 2
        masks[name] = mask
    options = ("--images", root / "images", "--labels", root / "rois")
    return Made(options, ("background", "cell", "edge"), masks)


def voc(root):
    masks = {}
    for folder in ("SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for name, size in SIZES.items():
        picture(root / "JPEGImages" / f"{name}.jpg", size)
        mask = random(name).integers(0, 21, size).astype(np.uint8)
        mask[0] = VOID
        indexed = Image.fromarray(mask).convert("P")
        indexed.putpalette(random("p").integers(0, 256, 768).tolist())
        indexed.save(root / "SegmentationClass" / f"{name}.png")
        masks[name] = np.array(indexed)
    (root / "ImageSets/Segmentation/train.txt").write_text("a\nb\n")
    (root / "ImageSets/Segmentation/val.txt").write_text("c\n")
    return Made(("--labels", root), (), masks)


def masks(root):
    """Masks in colour."""
    pictures(root / "images")
    (root / "masks").mkdir()
    colors = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    truth = {}
    for name, size in SIZES.items():
        truth[name] = random(name).integers(0, 3, size).astype(np.uint8)
        Image.fromarray(colors[truth[name]]).save(root / "masks" / f"{name}.png")
    file = root / "colors.txt"
    file.write_text("background 0 0 0\ncell 255 0 0\nedge 0 0 255\n")
    options = ("--images", root / "images", "--labels", root / "masks")
    return Made((*options, "--colors", file), ("background", "cell", "edge"), truth)


def volume(path, values, affine=None):
    nibabel = pytest.importorskip("nibabel")
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([1, 1, 3, 1.0]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def nifti(root):
    truth = {}
    for name, size in SIZES.items():
        generator = random(name)
        values = generator.normal(size=(*size[::-1], 4)).astype(np.float32)
        labels = generator.integers(0, 3, values.shape).astype(np.uint8)
        volume(root / "scans" / f"{name}.nii.gz", values)
        volume(root / "labels" / f"{name}.nii.gz", labels)
        truth |= {f"{name}-{k:04d}": labels[:, :, k].T for k in range(4)}
    options = ("--images", root / "scans", "--labels", root / "labels")
    classes = ("background", "cell", "edge")
    return Made((*options, "--classes", ",".join(classes)), classes, truth)


def nnunet(root):
    """Cases of two channels as volumes; the ignored value is void."""
    truth = {}
    for name, size in SIZES.items():
        generator = random(name)
        shape = (*size[::-1], 2)
        for channel in range(2):
            values = generator.integers(-500, 500, shape).astype(np.int16)
            volume(root / "imagesTr" / f"{name}_{channel:04d}.nii.gz", values)
        labels = generator.integers(0, 4, shape).astype(np.uint8)
        volume(root / "labelsTr" / f"{name}.nii.gz", labels)
        void = np.where(labels == 3, VOID, labels)
        truth |= {f"{name}-{k:04d}": void[:, :, k].T for k in range(2)}
    content = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "cell": 1, "edge": 2, "ignore": 3},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(content))
    options = ("--labels", root, "--channels", "1")
    return Made(options, ("background", "cell", "edge"), truth)


def dicom_file(path, values, study, place, **further):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.Modality = study, "CT"
    dataset.ImagePositionPatient = [0, 0, place]
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = values.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes()
    for key, value in further.items():
        setattr(dataset, key, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset)
    return str(dataset.SOPInstanceUID)


def dicom(root):
    truth = {}
    for number, (name, size) in enumerate(SIZES.items()):
        for place in range(2):
            generator = np.random.default_rng(10 * number + place)
            values = generator.integers(-900, 900, size).astype(np.int16)
            mask = generator.integers(0, 3, size).astype(np.uint8)
            study = f"1.2.3.{number}"
            dicom_file(root / "ct" / name / f"{place}.dcm", values, study, place)
            dicom_file(root / "seg" / f"m{number}{place}", mask, study, place)
            truth[f"{name}/{place}"] = mask
    options = ("--images", root / "ct", "--labels", root / "seg")
    classes = ("background", "cell", "edge")
    return Made((*options, "--classes", ",".join(classes)), classes, truth)


def dicomseg(root):
    pytest.importorskip("pydicom")
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    truth = {}
    for number, (name, size) in enumerate(SIZES.items()):
        frames, groups = [], []
        for place in range(2):
            generator = np.random.default_rng(10 * number + place)
            values = generator.integers(0, 4000, size).astype(np.uint16)
            file = root / "ct" / name / f"{place}.dcm"
            uid = dicom_file(file, values, f"1.2.3.{number}", place)
            mask = canvas(size)
            for segment in (1, 2):
                covered = generator.random(size) > 0.7
                mask[covered] = segment
                frames.append(covered)
                known, source, over = Dataset(), Dataset(), Dataset()
                known.ReferencedSegmentNumber = segment
                source.ReferencedSOPInstanceUID = uid
                over.SourceImageSequence = Sequence([source])
                item = Dataset()
                item.SegmentIdentificationSequence = Sequence([known])
                item.DerivationImageSequence = Sequence([over])
                groups.append(item)
            truth[f"{name}/{place}"] = mask
        segments = []
        for key, label in ((1, "cell"), (2, "edge")):
            segment = Dataset()
            segment.SegmentNumber, segment.SegmentLabel = key, label
            segments.append(segment)
        packed = np.packbits(np.ravel(frames), bitorder="little")
        packed = np.append(packed, np.zeros(len(packed) % 2, np.uint8))
        dicom_file(
            root / "seg" / f"{name}.dcm",
            np.stack(frames).astype(np.uint8),
            f"1.2.3.{number}",
            0,
            Modality="SEG",
            SegmentationType="BINARY",
            NumberOfFrames=len(frames),
            BitsAllocated=1,
            BitsStored=1,
            HighBit=0,
            PixelData=packed.tobytes(),
            SegmentSequence=Sequence(segments),
            PerFrameFunctionalGroupsSequence=Sequence(groups),
        )
    options = ("--images", root / "ct", "--labels", root / "seg")
    return Made(options, ("background", "cell", "edge"), truth)


MAKERS = {
    **{"coco": coco, "labelme": labelme, "cvat": cvat, "labelstudio": labelstudio},
    **{"yolo": yolo, "cityscapes": cityscapes, "geojson": geojson, "imagej": imagej},
    **{"voc": voc, "masks": masks, "nnunet": nnunet, "nifti": nifti},
    **{"dicom": dicom, "dicomseg": dicomseg},
}
