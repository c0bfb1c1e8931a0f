"""Label files as nobody should write them: one line, status 2, and little memory."""

import contextlib
import gzip
import json
import re
import resource
import struct
import sys
import tempfile
import zipfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from verdict import call, cases

sys.path.insert(0, str(Path(__file__).parents[1] / "data" / "labels"))
import label_trees

FAR = 10**9
LAUGHS = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]>'
MOST = 400 << 10  # KiB that a command may take more than those before it


class Trees(dict):
    """By format what was made, and the label files in it."""

    def __missing__(self, name):
        root = Path(tempfile.mkdtemp(dir=self.folder))
        made = label_trees.MAKERS[name](root)
        labels = Path(made.options[made.options.index("--labels") + 1])
        files = [p for p in sorted(labels.rglob("*")) if p.is_file()] or [labels]
        self[name] = made, files
        return self[name]

    def __repr__(self):
        return "trees"


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    found = Trees()
    found.folder = tmp_path_factory.mktemp("trees")
    return found


@contextlib.contextmanager
def broken(trees, kind, name=""):
    """A label file of a tree, which is whole again afterwards; and what to check."""
    made, files = trees[kind]
    file = next(path for path in files if path.name.endswith(name))
    whole = file.read_bytes()
    try:
        yield file, made
    finally:
        file.write_bytes(whole)


def check(made):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status, out, err = call("data", "check", *made.options)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < MOST
    return status, out + err


def edited(path, change):
    """Changes what a JSON file says."""
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) or content))


def annotation(**changes):
    return lambda content: content["annotations"][3].update(changes)


def size(**changes):
    return lambda content: content["images"][0].update(changes)


def segmentation(value):
    return annotation(segmentation=value)


def runs(counts):
    height, width = label_trees.SIZES["a"]
    return segmentation({"size": [height, width], "counts": counts})


COCO = {
    "no points": (segmentation([[1, 1, 9, 9]]), "annotation 4: 2 points"),
    "a box": (segmentation([]), "annotation 4: segmentation is empty"),
    "odd": (segmentation([[1, 2, 3, 4, 5, 6, 7]]), "annotation 4: coordinates that"),
    "words": (segmentation([["a", "b", "c", "d", "e", "f"]]), "annotation 4: coord"),
    "not finite": (segmentation([[1, 1, float("nan"), 9, 4, 4]]), "not finite"),
    "endless": (segmentation([[1, 1, float("inf"), 9, 4, 4]]), "not finite"),
    "far": (segmentation([[1, 1, FAR, 9, 4, 4]]), "annotation 4: a corner at x=1e"),
    "long": (segmentation([[0, 0, 60000, 60000] * 80]), "annotation 4: an outline"),
    "nested": (segmentation([[[[1]]]]), "annotation 4: coordinates"),
    "runs beyond": (runs([0, FAR]), "annotation 4: runs of 1000000000 pixels"),
    "runs that are short": (runs([3, 4]), "annotation 4: runs of 7 pixels"),
    "negative runs": (runs([-5, 5 + 30 * 41]), "annotation 4: runs of 1230"),
    "runs of words": (runs(["a"]), "annotation 4: run lengths"),
    "no runs": (runs([]), "annotation 4: run lengths"),
    "huge runs": (runs([10**30]), "annotation 4: run"),
    "packed words": (runs("\u00e9"), "annotation 4: letter 0 is none"),
    "packed runs without end": (
        runs("oooooooooooooooooo"),
        "annotation 4: compressed runs that are cut",
    ),
    "packed runs, cut": (runs("PP"), "annotation 4: compressed runs that are cut"),
    "endless numbers": (runs("o" * 30 + "0"), "annotation 4: compressed runs of num"),
    "other size": (
        segmentation({"size": [FAR, FAR], "counts": [FAR * FAR]}),
        "annotation 4: RLE of 1000000000x1000000000",
    ),
    "size of words": (segmentation({"size": "a", "counts": []}), "size='a': expected"),
    "no segmentation": (segmentation(None), "annotation 4: segmentation"),
    "panoptic": (annotation(segments_info=[]), "annotation 4: is of COCO panoptic"),
    "no category": (annotation(category_id=99), "annotation 4: category_id=99"),
    "category of words": (annotation(category_id="x"), "category_id='x': expected"),
    "no image": (annotation(image_id=99), "annotation 4: image_id=99: no image"),
    "image in a list": (annotation(image_id=[1]), r"annotation 4: image_id=\[1\]"),
    "upwards": (size(file_name="../../etc/passwd"), "image 10: no image '../../etc"),
    "a root": (size(file_name="/etc/hostname"), "image 10: no image '/etc/host"),
    "a dot": (size(file_name=".."), "image 10: no image '..'"),
    "nothing": (size(file_name=""), "image 10: no image ''"),
    "NUL": (size(file_name="a\0.png"), "image 10: no image"),
    "one twice": (size(file_name="b.png"), "image 11: means .* as .*image 10 does"),
    "absurd size": (size(height=FAR, width=FAR), "is for 1000000000x1000000000"),
    "height of words": (size(height="30"), "image 10: height='30': expected"),
    "id twice": (size(id=11), r"images\[1\]: id=11"),
    "list": (lambda content: [content], "is list; expected an object"),
    "no list": (lambda content: content.update(images=7), "images=7: expected a list"),
    "null": (lambda c: c.update(annotations=None), "annotations=null: expected"),
    "entry": (lambda c: c.update(annotations=[3]), r"annotations\[0\]: is 3; expected"),
    "no names": (lambda c: c.update(categories=[]), "no such category"),
}


@pytest.mark.parametrize("name", COCO)
def test_an_entry_of_coco_is_named(name, trees):
    change, message = COCO[name]
    with broken(trees, "coco") as (file, made):
        edited(file, change)
        status, said = check(made)
    assert status == 2
    assert re.search(rf"instances\.json: .*{message}|instances\.json: {message}", said)


def shape(**changes):
    return lambda content: content["shapes"][0].update(changes)


def result(number, **changes):
    def change(content):
        content[0]["annotations"][0]["result"][number]["value"].update(changes)

    return change


def brush(head, tail=()):
    """A brush that says it has so many values, and what follows."""
    return result(3, rle=[*struct.pack(">I", head), *tail])


def feature(**changes):
    return lambda content: content["features"][0]["geometry"].update(changes)


JSON = {
    "line": ("labelme", shape(shape_type="line"), r"shape 0 \(cell\): a line covers"),
    "point": ("labelme", shape(shape_type="point"), "a point covers no pixels"),
    "no kind": ("labelme", shape(shape_type=[3]), "shape_type=list: expected a text"),
    "kind": ("labelme", shape(shape_type="star"), "shape_type='star': expected"),
    "circle": ("labelme", shape(shape_type="circle"), "6 points; a circle has 2"),
    "few": ("labelme", shape(points=[[1, 2]]), r"shape 0 \(cell\): 1 points"),
    "no mask": ("labelme", shape(shape_type="mask", points=[[0, 0], [1, 1]]), "PNG"),
    "mask": (
        "labelme",
        lambda content: content["shapes"][3].update(mask="iVBORw0KGgo="),
        r"shape 3 \(edge\)|a\.json: mask",
    ),
    "no label": ("labelme", shape(label=None), "shape 0: label=null: expected a text"),
    "image": ("labelme", lambda c: c.update(imageHeight=FAR), "is for 1000000000x41"),
    "brush": ("labelstudio", brush(FAR), r"result 3 \(edge\): a brush of 1000000000"),
    "cut": (
        "labelstudio",
        brush(30 * 41 * 4),
        r"result 3 \(edge\): a brush that is cut",
    ),
    "beyond": (
        "labelstudio",
        brush(30 * 41 * 4, [0b00111111, 0b11111111, 0b11111111, *[255] * 99]),
        r"result 3 \(edge\): a brush that runs beyond",
    ),
    "bytes": ("labelstudio", result(3, rle=[999]), "bytes beyond 0 to 255"),
    "percent": ("labelstudio", result(0, points=[[1e99, 1]] * 3), "far outside"),
    "pairs": ("labelstudio", result(0, points=[[1]] * 3), "no pairs"),
    "words": ("labelstudio", result(1, x="a"), "x='a': expected a number"),
    "ring": ("geojson", feature(coordinates=[[[1, 2]]]), "feature 0: a ring of 1"),
    "place": ("geojson", feature(coordinates=[[[1], [2], [3], [1]]]), "feature 0: a p"),
    "hollow": ("geojson", feature(coordinates=[]), "feature 0: a polygon without a"),
    "flat": ("geojson", feature(coordinates=[1, 2]), "feature 0: a ring of 0"),
    "pin": ("geojson", feature(type="Point"), "feature 0: a Point; expected Polygon"),
    "system": (
        "geojson",
        lambda content: content["crs"]["properties"].update(name="EPSG:0"),
        "crs: not known",
    ),
    "longitudes": ("geojson", lambda content: content.pop("crs") and None, "projected"),
    "values": (
        "nnunet",
        lambda content: content["labels"].update(cell=[1, 2]),
        r"labels: cell=\[1, 2\]: expected one number",
    ),
    "ending": (
        "nnunet",
        lambda c: c.update(file_ending="/../x"),
        "file_ending='/../x'",
    ),
    "polygon": (
        "cityscapes",
        lambda content: content["objects"][0].update(polygon=[[0, FAR]] * 3),
        r"object 0 \(road\): a corner at",
    ),
}


@pytest.mark.parametrize("name", JSON)
def test_an_entry_of_json_is_named(name, trees):
    kind, change, message = JSON[name]
    names = {"labelme": "a.json", "cityscapes": "a_gtFine_polygons.json"}
    with broken(trees, kind, names.get(kind, "json")) as (file, made):
        edited(file, change)
        status, said = check(made)
    assert status == 2
    assert re.search(rf"json: .*({message})|json: ({message})", said), said


CVAT = {
    "laughs": ("<annotations>", LAUGHS + "<annotations>", "declares a document type"),
    "cut": ("</annotations>", "", "cannot be read as XML"),
    "bytes": ("<version>", "\x01<version>", "cannot be read as XML"),
    "root": ("annotations>", "pages>", "is of no format"),
    "track": ("</annotations>", "<track/></annotations>", "tracks of a video"),
    "line": (
        "<box label",
        "<polyline label",
        r"polyline 2 \(edge\): a polyline covers",
    ),
    "tag": ("<box label", "<star label", r"star 2 \(edge\): <star>: expected polygon"),
    "no label": ('<box label="edge"', "<box", r"box 2 \(None\): has no label"),
    "words": ('xtl="2.5"', 'xtl="a"', r"box 2 \(edge\): xtl='a': expected a number"),
    "NaN": ('xtl="2.5"', 'xtl="nan"', r"box 2 \(edge\): xtl='nan': expected a number"),
    "far": ('xtl="2.5"', 'xtl="-1e9"', r"box 2 \(edge\): a corner at x=-1e"),
    "order": ('z_order="0"', 'z_order="x"', "z_order='x': expected a number"),
    "box": ('left="3"', 'left="300"', r"mask 5 \(cell\): 5x8 pixels at row 4, column"),
    "negative": ('left="3"', 'left="-3"', r"mask 5 \(cell\): 5x8 pixels at row 4"),
    "vast": ('width="8"', f'width="{FAR}"', r"mask 5 \(cell\): 5x1000000000 pixels"),
    "runs": ('rle="', f'rle="{FAR}, ', r"mask 5 \(cell\): runs of 10000000"),
    "run": ('rle="', 'rle="x', r"mask 5 \(cell\): run lengths"),
    "size": ('height="30"', 'height="3e1x"', "image 0: height='3e1x': expected"),
    "upwards": ('name="images/a.png"', 'name="../../etc/passwd"', "no image '../../e"),
}


@pytest.mark.parametrize("name", CVAT)
def test_an_entry_of_xml_is_named(name, trees):
    before, after, message = CVAT[name]
    with broken(trees, "cvat") as (file, made):
        content = file.read_text()
        assert before in content
        file.write_text(content.replace(before, after))
        status, said = check(made)
    assert status == 2
    assert re.search(rf"annotations\.xml: .*({message})|xml: ({message})", said), said


YOLO = {
    "box": ("0 0.1 0.2 0.3 0.4", "line 1: a box"),
    "category": ("7 0.1 0.2 0.3 0.4 0.5 0.6", "line 1: category '7'; expected 0 to 1"),
    "negative": ("-1 0.1 0.2 0.3 0.4 0.5 0.6", "line 1: category '-1'"),
    "words": ("0 a b c d e f", "line 1: expected numbers"),
    "odd": ("0 0.1 0.2 0.3 0.4 0.5 0.6 0.7", "line 1: 7 numbers"),
    "NaN": ("0 nan 0.2 0.3 0.4 0.5 0.6", r"line 1 \(cell\): a coordinate that is not"),
    "far": ("0 1e30 0.2 0.3 0.4 0.5 0.6", r"line 1 \(cell\): a corner at"),
}


@pytest.mark.parametrize("name", YOLO)
def test_a_line_of_text_is_named(name, trees):
    line, message = YOLO[name]
    made, (described,) = trees["yolo"]
    file = described.parent / "labels/train/a.txt"
    whole = file.read_text()
    file.write_text(line)
    status, said = check(made)
    file.write_text(whole)
    assert status == 2 and re.search(rf"a\.txt: ({message})", said), said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "names: [cell, edge]\ntrain: ../../../etc\n",
            "train: '../../../etc': no such",
        ),
        ("names: [cell, edge]\ntrain: [1]\n", "train: expected a folder"),
        ("names: {0: cell, 5: edge}\ntrain: images/train\n", "names: expected a list"),
        ("names: !!python/object/apply:os.system [true]\n", "cannot be read as YAML"),
        ("names: " + "[" * 600, "cannot be read as YAML"),
        ("names", "expected names: and a list"),
        ("names: &a [*a]\n", "names: expected a list|cannot be read as YAML"),
    ],
)
def test_a_description_of_yolo_is_named(content, message, trees):
    with broken(trees, "yolo") as (file, made):
        file.write_text(content)
        status, said = check(made)
    assert status == 2 and re.search(rf"data\.yaml: ({message})", said), said


def test_a_zip_of_regions_is_no_bomb(trees):
    with broken(trees, "imagej", "a.zip") as (file, made):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.roi", bytes(80 << 20))
        assert file.stat().st_size < 1 << 20
        status, said = check(made)
    assert status == 2 and "a.zip: unpacks to 83886080 bytes" in said


@pytest.mark.parametrize("name", ("../../a.roi", "b.txt", "c.roi"))
def test_what_is_no_region_in_a_zip_is_named(name, trees):
    with broken(trees, "imagej", "a.zip") as (file, made):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(name, b"Iout" + bytes(20))
        status, said = check(made)
    assert status == 2 and "rois/a.zip: " in said


def test_a_volume_of_any_size_is_refused_by_its_header(trees):
    with broken(trees, "nifti", "a.nii.gz") as (file, made):
        content = bytearray(gzip.decompress(file.read_bytes()))
        content[40:56] = struct.pack("<8h", 3, 32000, 32000, 32000, 1, 1, 1, 1)
        file.write_bytes(gzip.compress(bytes(content)))
        status, said = check(made)
    assert status == 2 and "labels/a.nii.gz: 32768000000000 voxels" in said


@pytest.mark.filterwarnings("ignore::UserWarning")
@cases()
@given(
    name=st.sampled_from(sorted(label_trees.MAKERS)),
    which=st.integers(0, 99),
    place=st.floats(0, 1),
    garbage=st.one_of(
        st.binary(max_size=9),
        st.sampled_from((b"null", b"-1", b"1e400", b'"', b"}", b"[", b"\xff", b"../")),
    ),
    cut=st.booleans(),
)
def test_damage_is_a_line(trees, name, which, place, garbage, cut):
    made, files = trees[name]
    file = files[which % len(files)]
    whole = file.read_bytes()
    at = int(place * len(whole))
    end = len(whole) if cut else at + len(garbage)
    try:
        file.write_bytes(whole[:at] + garbage + whole[end:])
        call("data", "check", *made.options)
    finally:
        file.write_bytes(whole)
