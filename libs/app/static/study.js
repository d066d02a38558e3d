// The real-user evaluation: a person is timed while segmenting one sequence of DAVIS.

import { openExport } from "./dialogs.js";
import { changed, command, store, subscribe, tell } from "./store.js";
import { fit } from "./view.js";

const banner = document.getElementById("study");

export async function satisfied() {
  if (store.state.job) return;
  const { study } = store.state;
  if (!study) return openExport();
  if (!study.started || study.finished) return;
  const answer = await command("/api/study/finish");
  if (answer) tell(`Thank you. J ${answer.J.toFixed(3)}, F ${answer.F.toFixed(3)}; written to ${answer.path}.`, { good: true });
}

export function toggleTruth() {
  if (!store.state.study?.truth) return;
  store.truth = !store.truth;
  document.getElementById("show-truth").checked = store.truth;
  fit();
  changed("truth");
}

function words(study) {
  if (study.finished) return "Finished: the result is written.";
  const how = { wo_RS: "choose frames yourself", RS1: "the frame to correct next is shown", RS4: "choose among the candidates A–D" }[study.condition];
  if (!study.started) return `${study.sequence}: segment every object until you are satisfied; ${how}. The clock starts with the button.`;
  return `${study.sequence} · round ${study.rounds + 1} · ${how} · S when satisfied`;
}

subscribe((what) => {
  if (!what.has("state")) return;
  const { study } = store.state;
  banner.hidden = !study;
  document.body.classList.toggle("study", Boolean(study));
  document.body.classList.toggle("unguided", Boolean(study && !study.guidance));
  document.querySelector(".study-truth").hidden = !study?.truth;
  if (!study) return;
  const text = document.createElement("span");
  text.textContent = words(study);
  banner.replaceChildren(text);
  if (!study.started) {
    const start = document.createElement("button");
    start.className = "primary";
    start.textContent = "Start";
    start.onclick = () => command("/api/study/start");
    banner.append(start);
  }
});

document.getElementById("show-truth").onchange = toggleTruth;
document.getElementById("satisfied").onclick = satisfied;
