import cv2
import numpy as np
import pytest
from PIL import Image

from dataset_torch.errors import UserError
from dataset_torch.masks import write_mask
from dataset_torch.synthetic.material import load_cutout, load_material
from dataset_torch.synthetic.pictures import read_photo
from tests.dataset_torch.toy_material import disc, picture, two_object_mask, write_image, write_material


def test_everything_is_found(tmp_path):
    material = load_material(write_material(tmp_path))
    assert [s.name for s in material.cutouts] == ["animals__disc", "space__disc"]
    assert material.cutouts[0].weight > material.cutouts[1].weight
    assert len(material.backgrounds) == 1 and len(material.photos) == 2
    still = material.stills[0]
    assert [s.name for s in still.sprites] == ["pair-1", "pair-2", "pair-1+2"]
    assert [s.parts for s in still.sprites] == [1, 1, 2]
    # objects 60 x 40 and 40 x 50 pixels; the soft edge counts from half opacity on
    assert still.sprites[0].area == pytest.approx(2400, rel=0.05) and still.sprites[1].area == pytest.approx(
        2000, rel=0.05
    )
    assert still.sprites[0].centre == (50, 50)


def test_painted_over_stills_lose_their_objects(tmp_path):
    root = write_material(tmp_path)
    image = np.full((90, 160, 3), 90, np.uint8)
    image[20:80, 30:120] = (250, 0, 0)
    write_image(root / "stills" / "JPEGImages" / "pair" / "00000.png", image)
    filled = load_material(root).stills[0].filled[0]
    assert np.abs(filled[40, 60].astype(int) - 90).max() < 40


def test_cut_outs_are_cropped_and_have_a_clear_rim(tmp_path):
    image = np.zeros((80, 100, 4), np.uint8)
    image[10:70, 30:90] = disc(60)
    write_image(tmp_path / "a.png", image)
    sprite = load_cutout(tmp_path / "a.png")
    rgba, parts = sprite.pyramid[0]
    assert rgba.shape == (62, 62, 4) and parts.max() == 1  # the disc is 54 across, plus 4 on either side
    assert not rgba[:4, :, 3].any() and not rgba[:, -4:, 3].any()
    assert np.abs(rgba[4, 4, :3].astype(int) - [200, 30, 40]).max() <= 2  # colours go on under the clear part


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: write_image(root / "cutouts" / "b.png", picture()), "alpha"),
        (lambda root: write_image(root / "cutouts" / "b.png", np.zeros((9, 9, 4), np.uint8)), "transparent"),
        (lambda root: (root / "backgrounds" / "b.jpg").write_bytes(b"no image"), "cannot be read"),
        (lambda root: (root / "stills" / "Annotations" / "pair" / "00000.png").unlink(), "no mask"),
        (lambda root: write_mask(root / "stills/Annotations/pair/00000.png", np.ones((5, 5), np.uint8)), "same size"),
        (
            lambda root: write_mask(root / "stills/Annotations/pair/00000.png", np.zeros((90, 160), np.uint8)),
            "no object",
        ),
    ],
)
def test_bad_material_is_refused(tmp_path, spoil, message):
    root = write_material(tmp_path)
    spoil(root)
    with pytest.raises(UserError, match=message):
        load_material(root)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="0 cut-outs, 0 backgrounds and 0 stills"):
        load_material(tmp_path)


def test_drawings_are_drawn_less_often(tmp_path):
    root = write_material(tmp_path)
    for name in ("clipart__cat", "emoji__cat", "people__cat"):
        write_image(root / "cutouts" / f"{name}.png", disc())
    weights = {sprite.name: sprite.weight for sprite in load_material(root).cutouts}
    assert (weights["clipart__cat"], weights["emoji__cat"], weights["people__cat"]) == (0.25, 0.25, 1.0)


def test_several_folders_are_put_together(tmp_path):
    folders = [write_material(tmp_path / "a"), write_material(tmp_path / "b")]
    write_image(folders[1] / "backgrounds" / "another.png", picture(120, 200, 4))
    material = load_material(folders)
    assert len(material.cutouts) == 4 and [p.name for p in material.backgrounds] == ["wall", "another", "wall"]
    write_image(folders[0] / "backgrounds" / "wall.png", np.full((120, 200, 3), 9, np.uint8))
    assert (material.backgrounds[0].pyramid[0] == 9).all()  # read on first use
    assert (material.backgrounds[2].pyramid[0] != 9).any()


def test_hidden_files_are_no_material_and_every_picture_is(tmp_path):
    root = write_material(tmp_path)
    write_image(root / "backgrounds" / "second.bmp", picture(120, 200, 3))
    for index in range(2):
        write_image(root / "actors" / "bar" / f"{index}.png", disc(40))
    for path in [*root.rglob("*.png")]:
        path.with_name(f"._{path.name}").write_bytes(b"left by a Mac")
    (root / "actors" / ".trash").mkdir()
    material = load_material(root)
    assert [photo.name for photo in material.backgrounds] == ["second", "wall"]
    assert (len(material.cutouts), len(material.stills), [len(a.paths) for a in material.actors]) == (2, 1, [2])


@pytest.mark.parametrize("height, width", [(1, 1), (5, 60)])
def test_a_tiny_background_is_refused(tmp_path, height, width):
    root = write_material(tmp_path)
    write_image(root / "backgrounds" / "tiny.png", picture(120, 200)[:height, :width])
    with pytest.raises(UserError, match="too small for a background"):
        load_material(root)


def test_a_still_whose_objects_are_too_small_is_nothing_to_cut_out(tmp_path):
    mask = np.zeros((90, 160), np.uint8)
    mask[10:15, 10:15] = 1
    write_image(tmp_path / "stills" / "JPEGImages" / "pair" / "00000.png", picture(90, 160, 2))
    (tmp_path / "stills" / "Annotations" / "pair").mkdir(parents=True)
    write_mask(tmp_path / "stills" / "Annotations" / "pair" / "00000.png", mask)
    with pytest.raises(UserError, match="objects of 400 pixels"):
        load_material(tmp_path)


def test_a_picture_that_is_too_large_is_told(tmp_path, monkeypatch):
    root = write_material(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match="cannot be read as an image"):
        load_material(root)


def test_a_truncated_background_is_no_background(tmp_path):
    path = tmp_path / "wall.jpg"
    write_image(path, picture(120, 200))
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(UserError, match="truncated"):
        read_photo(path)


def test_soft_masks_of_stills_are_refused(tmp_path):
    root = write_material(tmp_path)
    soft = cv2.GaussianBlur(np.where(two_object_mask() == 1, 255, 0).astype(np.uint8), (0, 0), 3)
    Image.fromarray(soft).save(root / "stills" / "Annotations" / "pair" / "00000.png")
    with pytest.raises(UserError, match="grey levels"):
        load_material(root)
