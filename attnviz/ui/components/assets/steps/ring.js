// Ring attention: devices in a circle keep their queries; blocks of keys and values travel around.

import { createPlayer, element, playerComponent } from "./step_player.js";

export default playerComponent(".ring", build);

function build(root, data) {
  root.replaceChildren();
  const controls = element("div", "controls");
  const says = element("div", "says");
  says.setAttribute("aria-live", "polite");
  const stage = element("div", "stage");
  const count = data.devices.length;
  // Percent of the stage; the first device is on top and the ring runs clockwise.
  const place = (box, device, radius) => {
    const angle = (2 * Math.PI * device) / count - Math.PI / 2;
    box.style.left = `${50 + radius * Math.cos(angle)}%`;
    box.style.top = `${50 + radius * Math.sin(angle)}%`;
  };
  const devices = data.devices.map((one, at) => {
    const box = element("div", "device");
    box.append(element("b", "", `Q${at}`), element("span", "range", one));
    place(box, at, 43);
    stage.append(box);
    return box;
  });
  const blocks = data.devices.map((one, at) => {
    const box = element("div", "block", `KV${at}`);
    box.title = `keys and values of tokens ${one}`;
    stage.append(box);
    return box;
  });
  root.append(controls, says, stage);
  const draw = (step) => {
    const round = data.rounds[step];
    round.forEach((work, device) => {
      place(blocks[work.block], device, count > 8 ? 26 : 24);
      blocks[work.block].classList.toggle("skipped", work.skipped);
      devices[device].classList.toggle("skipped", work.skipped);
    });
    const skipped = round.filter((work) => work.skipped).length;
    const moved = data.moved[step];
    says.textContent =
      (step === 0 ? "Round 0: every device has the block of its queries. " : `Round ${step}: every block moved on by one device. `) +
      `${count - skipped} of ${count} devices compute` +
      (skipped ? `, ${skipped} skip a block that the mask hides. ` : ". ") +
      `${moved} have moved.`;
  };
  return createPlayer(controls, data.rounds.length - 1, draw);
}
