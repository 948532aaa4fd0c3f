"""The page in a real browser, each path by what came of it: files as of the Python API, sentences, visitors."""

import asyncio
import base64
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import desa2va
from desa2va.commands.demo import ASSETS
from desa2va.processing.files import write_clip
from desa2va.processing.inputs import load_image

SECONDS = 90  # a busy machine
SHIPPED = ASSETS / "desa2va-tiny"
MOST_FRAMES = 40


@contextmanager
def running(folder, *words):
    """A running page (`address`) whose temporary files lie in `folder`; ends it, and looks for what is left."""
    pytest.importorskip("gradio", reason="the extra `web` is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "here").mkdir()
    (folder / "here" / "private.txt").write_text("private")
    command = [sys.executable, "-m", "desa2va", "web", "--device", "cpu", "--port", str(port), *words]
    root = os.path.dirname(os.path.dirname(desa2va.__file__))
    env = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": root}
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=env, cwd=folder / "here")
        try:
            end = time.monotonic() + 2 * SECONDS
            while True:
                assert process.poll() is None, (folder / "log.txt").read_text()
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}").close()
                    break
                except urllib.error.URLError:
                    assert time.monotonic() < end, "the page does not come up"
                    time.sleep(0.1)
            yield SimpleNamespace(address=f"http://127.0.0.1:{port}", folder=folder)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    assert not list(folder.glob("desa2va-*"))
    assert "Traceback" not in (folder / "log.txt").read_text()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of the shipped model."""
    with running(tmp_path_factory.mktemp("page"), "--mcp", "--max-frames", str(MOST_FRAMES)) as page:
        yield page


@pytest.fixture(scope="module")
def start():
    """Starts headless Chromium with a camera that shows a test picture."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium-driver)")
    started = []

    def make():
        options = webdriver.ChromeOptions()
        for word in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1200,1600"):
            options.add_argument(f"--{word}")
        options.add_argument("--use-fake-device-for-media-stream")
        options.add_argument("--use-fake-ui-for-media-stream")
        started.append(webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)))
        return started[-1]

    yield make
    for browser in started:
        browser.quit()


@pytest.fixture(scope="module")
def browser(start):
    """One browser for all tests."""
    return start()


@pytest.fixture
def tab(page, browser):
    """A page of its own, closed afterwards."""
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(page.address)
    part(browser, "#export")
    yield browser
    browser.close()
    browser.switch_to.window(first)


def until(look):
    """What `look` gives once it gives something."""
    end = time.monotonic() + SECONDS
    while not (seen := look()):
        assert time.monotonic() < end, "not on the page"
        time.sleep(0.1)
    return seen


def part(browser, selector):
    """A part of the page once it can be seen."""
    return until(lambda: next((one for one in browser.find_elements("css selector", selector) if shows(one)), None))


def shows(element):
    try:
        return element.is_displayed()
    except Exception:  # gradio has put another in its place
        return False


def said(browser, pattern):
    """The match of the page's sentence, once it matches."""

    def look():
        text = browser.execute_script("const e = document.querySelector('#said'); return e ? e.textContent : ''")
        return re.search(pattern, text)

    return until(look)


def refused(browser, pattern):
    """Waits for an error that says this, and closes it."""
    until(
        lambda: [one for one in browser.find_elements("css selector", ".toast-body") if re.search(pattern, one.text)]
    )
    part(browser, ".toast-close").click()
    until(lambda: not browser.find_elements("css selector", ".toast-body"))


def give(browser, selector, path):
    """Uploads a file there."""
    inputs = f"{selector} input[type=file], input[type=file]:has(+ {selector})"
    until(lambda: browser.find_elements("css selector", inputs))[0].send_keys(str(path))


def say(browser, words):
    """Types, and presses Enter."""
    box = part(browser, "#text textarea")
    box.clear()
    box.send_keys(words + "\n")


def click_at(browser, x, y):
    """A click on a pixel of the shown frame."""
    from selenium.webdriver import ActionChains

    picture = part(browser, "#canvas img")
    width, height, scale = browser.execute_script(
        "const i = arguments[0], r = i.getBoundingClientRect();"
        "return [i.naturalWidth, i.naturalHeight, Math.min(r.width / i.naturalWidth, r.height / i.naturalHeight)]",
        picture,
    )
    away = round((x + 0.5 - width / 2) * scale), round((y + 0.5 - height / 2) * scale)
    ActionChains(browser).move_to_element_with_offset(picture, *away).click().perform()


def choose(browser, selector, label):
    """Chooses one of several by its words."""
    until(lambda: [one for one in browser.find_elements("css selector", f"{selector} label") if one.text == label])[
        0
    ].click()


def load(browser, address):
    """Status and content of an address, as this browser gets it."""
    status, text = browser.execute_async_script(
        "const done = arguments[1]; fetch(arguments[0]).then(async r => {"
        "const bytes = new Uint8Array(await r.arrayBuffer());"
        "done([r.status, Array.from(bytes, b => String.fromCharCode(b)).join('')])})",
        address,
    )
    return status, text.encode("latin-1")


def written(browser, ending):
    """Address of a file that is offered."""
    links = "return [...document.querySelectorAll('#written a')].map(a => a.href)"
    return until(lambda: [link for link in browser.execute_script(links) if link.endswith(ending)])[0]


def coco(browser):
    """What the page gives to take home."""
    part(browser, "#export").click()
    status, content = load(browser, written(browser, "coco.json"))
    assert status == 200
    return [(one["image_id"], one["segmentation"]) for one in json.loads(content)["annotations"]]


def coco_of(session):
    annotations = json.loads(json.dumps(session.results().to_coco()))["annotations"]
    assert annotations
    return [(one["image_id"], one["segmentation"]) for one in annotations]


def clip_of(path, count):
    """A small video."""
    write_clip(path, (np.full((64, 64, 3), 50 + number % 100, np.uint8) for number in range(count)), 10)
    return path


def test_from_an_upload_to_a_file(tab, demo, shipped):
    """Upload, a sentence, tracking, a correcting click, tracking, download: the file is the Python API's."""
    give(tab, "#upload", demo / "clip.mp4")
    part(tab, "#canvas img")
    say(tab, "the red object")
    said(tab, "1 object found")
    part(tab, "#follow").click()
    said(tab, "8 frames done")
    click_at(tab, 128, 128)
    x, y = map(float, said(tab, r"Corrected on frame 7 at (\d+), (\d+)").groups())
    assert abs(x - 128) <= 1
    assert abs(y - 128) <= 1
    part(tab, "#follow").click()
    said(tab, "1 frame done")
    with desa2va.DeSa2VASession(*shipped, str(demo / "clip.mp4")) as session:
        (number,) = session.add(text="the red object", key_frames=[0])
        list(session.propagate())
        session.correct(number, 7, points=[[x, y, 1]])
        list(session.propagate())
        assert coco(tab) == coco_of(session)


def test_a_box_and_a_mask(tab, demo, shipped, tmp_path):
    """Two clicks near opposite corners, and a file: the masks of the Python API."""
    part(tab, "#scene").click()
    choose(tab, "#tool", "box")
    click_at(tab, 60, 120)
    said(tab, r"Corner at \d+, \d+; click the opposite one")
    click_at(tab, 112, 182)
    box = [*map(float, said(tab, r"A new object on frame 0 in (\d+), (\d+) to (\d+), (\d+)\.").groups())]
    assert all(abs(got - wanted) <= 1 for got, wanted in zip(box, (60, 120, 112, 182), strict=True))
    choose(tab, "#objects", "new object")
    mask = np.zeros(np.asarray(Image.open(demo / "scene.png")).shape[:2], np.uint8)
    mask[20:60, 30:90] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    part(tab, "#mouseless button").click()
    give(tab, "#mask", tmp_path / "mask.png")
    until(lambda: len(tab.find_elements("css selector", "#objects label")) == 3)
    got = coco(tab)
    with desa2va.DeSa2VASession(*shipped, str(demo / "scene.png")) as session:
        session.add(boxes=box)
        session.add(masks=mask > 0)
        assert got == coco_of(session)


@pytest.mark.parametrize(
    ("size", "place"), [((900, 2400), (200, 1900)), ((1500, 400), (1300, 90)), ((60, 90), (9, 80))]
)
def test_a_click_lies_where_it_is_seen(tab, tmp_path, size, place):
    """Whether the picture is larger than the page, or smaller; a picture that was blown up took clicks elsewhere."""
    Image.new("RGB", size, (90, 60, 30)).save(tmp_path / "plain.png")
    give(tab, "#upload", tmp_path / "plain.png")
    click_at(tab, *place)
    got = map(float, said(tab, r"A new object on frame 0 at (\d+), (\d+)").groups())
    assert all(abs(one - other) <= 4 for one, other in zip(got, place, strict=True))


def test_an_error_is_a_sentence(tab, page, demo, tmp_path):
    """What is wrong is told, and the page goes on."""
    part(tab, "#find").click()
    refused(tab, "Open a picture or a video first")
    (tmp_path / "broken.mp4").write_bytes((demo / "clip.mp4").read_bytes()[:500])
    give(tab, "#upload", tmp_path / "broken.mp4")
    refused(tab, "Video: can not be read as a video .Invalid data")
    tab.get(page.address)
    give(tab, "#upload", clip_of(tmp_path / "long.mp4", MOST_FRAMES + 1))
    refused(tab, f"at most {MOST_FRAMES}")
    part(tab, "#scene").click()
    part(tab, "#canvas img")
    part(tab, "#find").click()
    refused(tab, "Type what shall be found")
    part(tab, "#ask").click()
    refused(tab, "Type what is asked")
    until(lambda: not any(map(shows, tab.find_elements("css selector", "#silence"))))
    say(tab, "the red object")
    said(tab, "1 object found")


def test_saved_work_is_resumed_and_explained(tab, page, demo, shipped, tmp_path):
    """In another visit, with the file of the first."""
    part(tab, "#scene").click()
    say(tab, "the red object")
    said(tab, "1 object found")
    part(tab, "#explain").click()
    status, content = load(tab, part(tab, "#why img").get_attribute("src"))
    model, processor = shipped
    inputs = processor(images=str(demo / "scene.png"), text="the red object", task="segment")
    wanted = processor.post_process(model.generate(**inputs, return_branches=True), inputs)[0].explain().plot()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")), wanted)
    before = coco(tab)
    part(tab, "#save").click()
    (tmp_path / "work.desa2va").write_bytes(load(tab, written(tab, ".desa2va"))[1])
    tab.get(page.address)
    part(tab, "#scene").click()
    part(tab, "#canvas img")
    give(tab, "#resume", tmp_path / "work.desa2va")
    said(tab, "Goes on with 1 object")
    assert coco(tab) == before


def test_stop_while_it_tracks(tab, tmp_path):
    """It ends after the frame at hand, and goes on where it was."""
    give(tab, "#upload", clip_of(tmp_path / "long.mp4", MOST_FRAMES))
    click_at(tab, 20, 20)
    said(tab, "A new object")
    part(tab, "#follow").click()
    said(tab, rf"[1-9]\d* of {MOST_FRAMES}: Frame")
    part(tab, "#stop").click()
    count = int(said(tab, r"Stopped after (\d+) frames?; Follow goes on")[1])
    assert count < MOST_FRAMES
    until(lambda: not any(map(shows, tab.find_elements("css selector", "#stop"))))
    part(tab, "#follow").click()
    said(tab, f"{MOST_FRAMES - count} frames? done")


def test_stop_while_it_answers(browser, demo, tmp_path):
    """Of a model whose answers have no end: what it had said and marked is kept, and the page goes on."""
    endless = shutil.copytree(SHIPPED, tmp_path / "endless")
    config = (endless / "config.json").read_text()
    assert '"eos_token_id": 2' in config
    (endless / "config.json").write_text(config.replace('"eos_token_id": 2', '"eos_token_id": 5'))  # never written
    with running(tmp_path, "--model", str(endless)) as page:
        browser.get(page.address)
        part(browser, "#export")
        part(browser, "#scene").click()
        part(browser, "#canvas img")
        part(browser, "#text textarea").send_keys("How many crosses are there?")
        part(browser, "#ask").click()
        part(browser, "#silence").click()
        answer = part(browser, "#talk .bot").text
        until(lambda: not any(map(shows, browser.find_elements("css selector", "#silence"))))
        marked = len(browser.find_elements("css selector", "#objects label")) - 1
        choose(browser, "#objects", "new object")
        click_at(browser, 128, 128)
        said(browser, "A new object")
    with desa2va.DeSa2VAConversation(*desa2va.load(endless), image=str(demo / "scene.png")) as talk:
        whole = talk.ask("How many crosses are there?", "auto", objects=[])
    assert answer.strip()
    assert marked < sum(found.mask().any() for found in whole.objects)


def test_two_browsers_do_not_see_each_other(tab, page, start):
    """Neither work nor files, told or guessed; nor does anybody get others of the machine."""
    part(tab, "#scene").click()
    say(tab, "the red object")
    said(tab, "1 object found")
    own = part(tab, "#canvas img").get_attribute("src")
    coco(tab)
    export = written(tab, "coco.json")
    other = start()
    other.get(page.address)
    part(other, "#clip").click()
    part(other, "#frame")
    assert len(other.find_elements("css selector", "#objects label")) == 1
    theirs = part(other, "#canvas img").get_attribute("src")
    assert [load(tab, one)[0] for one in (own, export, theirs)] == [200, 200, 404]
    assert [load(other, one)[0] for one in (own, export, theirs)] == [404, 404, 200]
    part(tab, "#save").click()
    (saved,) = until(lambda: list(page.folder.glob("desa2va-visitor-*/work.desa2va")))
    for path in (saved, page.folder / "here" / "private.txt", "/etc/passwd", next(page.folder.glob("desa2va-web-*"))):
        for route in (f"/gradio_api/file={path}", f"/gradio_api/file=/../..{path}"):
            assert load(tab, page.address + route)[0] == 404
    other.quit()


def test_files_go_with_the_tab(page, browser, tmp_path):
    """Also while it tracks: the visitor's own, what was uploaded and what was shown."""
    until(lambda: not list(page.folder.glob("desa2va-visitor-*")))  # of the tests before
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(page.address)
    give(browser, "#upload", clip_of(tmp_path / "long.mp4", MOST_FRAMES))
    click_at(browser, 20, 20)
    said(browser, "A new object")
    part(browser, "#follow").click()
    said(browser, "of")
    assert list(page.folder.glob("desa2va-web-*/*/long.mp4"))
    browser.close()
    browser.switch_to.window(first)
    until(lambda: not list(page.folder.glob("desa2va-visitor-*")))
    until(lambda: not list(page.folder.glob("desa2va-web-*/*/long.mp4")))


def test_the_keyboard_alone(tab):
    """Tab reaches everything; Enter, Space and arrows do what clicks do."""
    from selenium.webdriver import ActionChains, Keys

    def reach(selector):
        for _ in range(80):
            if tab.execute_script("return document.activeElement.closest(arguments[0]) !== null", selector):
                return
            ActionChains(tab).send_keys(Keys.TAB).perform()
        raise AssertionError(f"Tab does not reach {selector}")

    def press(*keys):
        ActionChains(tab).send_keys(*keys).perform()

    reach("#clip")
    press(Keys.ENTER)
    part(tab, "#frame")
    reach("#text")
    press("the red object", Keys.ENTER)
    said(tab, "1 object found")
    reach("#follow")
    press(Keys.SPACE)
    said(tab, "8 frames done")
    reach("#frame input[type=range]")
    press(Keys.ARROW_LEFT)
    until(lambda: part(tab, "#frame input[type=number]").get_attribute("value") == "6")
    reach("#marks, #mouseless button")
    press(Keys.ENTER)
    reach("#marks")
    press("128 128", Keys.ENTER)
    said(tab, "Corrected on frame 6 at 128, 128")
    reach("#undo")
    press(Keys.ENTER)
    said(tab, "taken back")


def test_the_camera(tab):
    """A picture of it is worked on as any other."""
    part(tab, "#camera > button").click()
    part(tab, "#camera [title='grant webcam access'], #camera .icon-buttons button, #camera button.wrap").click()
    until(lambda: tab.execute_script("const v = document.querySelector('#camera video'); return v && v.videoWidth"))
    part(tab, "#camera .button-wrap button").click()
    part(tab, "#canvas img")
    click_at(tab, 50, 50)
    said(tab, "A new object on frame 0")


def test_a_tool_for_agents(page, demo, shipped):
    """What an agent gets is the answer of a call; a wrong call gets a sentence."""
    mcp = pytest.importorskip("mcp", reason="mcp is not installed")
    from mcp.client.streamable_http import streamablehttp_client

    async def calls():
        async with (
            streamablehttp_client(page.address + "/gradio_api/mcp/") as (read, write, _),
            mcp.ClientSession(read, write) as agent,
        ):
            await agent.initialize()
            tools = (await agent.list_tools()).tools
            picture = base64.b64encode((demo / "scene.png").read_bytes()).decode()
            given = {"picture": f"data:image/png;base64,{picture}", "text": "the red object"}
            right = await agent.call_tool("segment_picture", given)
            wrong = await agent.call_tool("segment_picture", {**given, "text": ""})
            return tools, right, wrong

    (tool,), right, wrong = asyncio.run(calls())
    assert tool.name == "segment_picture"
    assert set(tool.inputSchema["properties"]) == {"picture", "text"}
    model, processor = shipped
    scene = load_image(str(demo / "scene.png"))
    inputs = processor(images=scene, text="the red object", task="segment")
    (result,) = processor.post_process(model.generate(**inputs), inputs)
    assert not right.isError
    drawn, _, told = right.content
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn.data))).convert("RGB"))
    assert np.array_equal(drawn, result.plot(image=scene))
    assert json.loads(told.text) == json.loads(json.dumps(result.to_dict()))
    assert wrong.isError
    assert "text of the user is empty" in wrong.content[0].text


def test_the_call_of_an_agent_in_the_docs(page, monkeypatch, capsys):
    """An example that nobody runs is wrong soon."""
    pytest.importorskip("mcp", reason="mcp is not installed")
    root = Path(desa2va.__file__).resolve().parent.parent
    (block,) = re.findall(r"```python\n(.*?)```", (root / "docs" / "web.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(root)
    exec(block.replace("http://127.0.0.1:7860", page.address), {})
    assert capsys.readouterr().out.startswith('image/png {"text": "Sure')


def test_without_the_extra_the_command_says_what_to_install(capsys, monkeypatch):
    """An ImportError with a traceback is no answer."""
    from desa2va.cli import main

    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "desa2va.web.page", raising=False)
    assert main(["web"]) == 2
    assert "pip install 'desa2va[web]'" in capsys.readouterr().err
