/** All texts of the page, in English and German. A text is a string with {names}, or a function of the values. */

import { settings } from "./settings.js";

/** @typedef {string | ((values: any) => string)} Text */

/** @param {number} n @param {string} one @param {string} many */
const count = (n, one, many) => `${n.toLocaleString(language())} ${n === 1 ? one : many}`;

/** @satisfies {Record<string, Text | Record<string, string>>} */
const EN = {
  title: "mien: facial expression recognition",
  motto: "mien names the expression a face shows, not what a person feels.",
  often: "It is often wrong. Ask people before you film them.",
  skip: "Skip to the picture",
  modes: "Source",
  camera: "Camera",
  pictures: "Pictures",
  videos: "Video",
  otherLanguage: "Deutsch",
  otherLanguageShort: "DE",
  theme: "Switch between light and dark",
  help: "Help and keys",
  close: "Close",
  cancel: "Cancel",
  dismiss: "Dismiss",

  cameraTitle: "See what your face shows",
  cameraText: "Start the camera: each face gets a box and the name of its expression, many times a second.",
  picturesTitle: "Drop pictures here",
  picturesText: "Or paste one, or choose files or a whole folder.",
  videosTitle: "Drop a video here",
  videosText: "Play it with live recognition, or process every frame and download the results.",
  local: "Nothing leaves this computer.",
  remote: "Frames are sent to {host}, and not stored there.",
  start: "Start camera",
  stop: "Stop",
  pause: "Pause",
  resume: "Resume",
  play: "Play",
  chooseCamera: "Camera",
  unnamedCamera: "Camera {number}",
  mirror: "Mirror",
  choosePictures: "Choose pictures",
  chooseFiles: "Files",
  chooseFolder: "Folder",
  example: "Example",
  tryExample: "Try an example",
  clear: "Clear",
  chooseVideo: "Choose a video",
  position: "Position",
  wholeVideo: "Every frame",
  wholeVideoText: "Playback skips frames on slow machines. This processes every frame, on the server.",
  recogniseAll: "Process every frame",
  uploading: "Uploading: {percent} %",
  queued: "Queued",
  running: ({ done, frames }) => `Frame ${done.toLocaleString("en")}${frames ? ` of ${frames.toLocaleString("en")}` : ""}`,
  jobDone: ({ warnings }) => ["All frames are done.", ...warnings.map(detailIn)].join(" "),
  jobFailed: "The video could not be recognised: {detail}",
  progress: "Progress",
  remove: "Delete from the server",
  annotatedVideo: "Video (MP4)",

  save: "Save",
  savePicture: "Picture",
  saveFaces: "Faces",
  saveCsv: "CSV",
  saveJsonl: "JSONL",
  saveStatistics: "Statistics",
  savePictureTip: "The picture with its boxes (PNG)",
  saveFacesTip: "Each face as a picture (PNG)",
  saveCsvTip: "Table for spreadsheets: one row per face",
  saveJsonlTip: "One line of JSON per frame",
  saveStatisticsTip: "Shares and timeline (JSON)",

  settings: "Settings",
  model: "Model",
  expressions: "Expressions",
  expressionsOf: "{count} ({name})",
  detector: "Faces",
  auto: "best available",
  yunet: "accurate (YuNet)",
  haar: "standard (Haar)",
  whole: "whole picture",
  detectorUsed: "in use: {name}",
  detectorTip: "Haar finds upright faces seen from the front; YuNet also small, turned and partly covered ones.",
  threshold: "Uncertain below",
  smoothing: "Smoothing",
  temporal: "Smooth by a temporal model",
  temporalTip: "A small recurrent model that was trained on moving faces, in place of the half-life",
  off: "off",
  seconds: "{value} s",
  where: "Run recognition",
  onServer: "on the server",
  here: "in this browser",

  face: "Face",
  faces: "Faces",
  largest: "the largest",
  chosen: "chosen",
  largestAgain: "Show the largest",
  noFace: "No face",
  course: "Over time",
  courseOfAll: "All faces",
  courseOfFace: "Face {number}",
  tenSeconds: "10 s",
  wholeCourse: "All",
  courseLabel: "Probabilities over time, mostly {label}",
  soFar: "Share of time",
  number: "No.",
  expression: "Expression",
  confidence: "Confidence",
  detectorScore: "Detector",
  box: "Box",
  showFace: "Show face {number}",
  gallery: "Pictures",
  stage: "Picture with the faces found",

  nFaces: ({ n }) => (n ? count(n, "face", "faces") : "no face"),
  progressOfPictures: "{done} of {all}",
  streamSoFar: ({ frames, seconds, faces }) =>
    `${count(frames, "frame", "frames")}, ${seconds} s, ${count(faces, "face", "faces")}`,
  speed: "{fps} fps · {ms} ms",
  seen: ({ n, labels }) => (n ? `${count(n, "face", "faces")}: ${labels}` : "No face"),
  picturesDone: ({ pictures, faces, failed }) =>
    `${count(pictures, "picture", "pictures")}, ${count(faces, "face", "faces")}${failed ? `, ${failed} unreadable` : ""}`,
  started: "Camera started",
  stopped: "Stopped",
  paused: "Paused",
  saved: "Saved {name}",

  insecure: "Browsers allow camera access only over https or on localhost. Start the service with --tls-cert and --tls-key, or " +
    "forward its port: ssh -L {port}:localhost:{port} {host}, then open http://localhost:{port}.",
  cameraRefused: "The browser was not allowed to use the camera. Allow it in the address bar, then start again.",
  cameraMissing: "No camera was found. Connect one, then start again; pictures and videos work without.",
  cameraBusy: "The camera is in use by another program. Close that one, then start again.",
  cameraLost: "The camera was disconnected.",
  cameraOther: "The camera did not start: {detail}",
  loading: "Loading the model…",
  slowStream: "Less than one frame per second: faces cannot be tracked, so nothing is smoothed. " +
    "A smaller model is faster.",
  serverGone: "The server does not answer. Trying again…",
  serverBusy: "The server has reached its maximum number of sessions. Trying again…",
  requestBusy: "The server is busy. Trying again…",
  sessionRefused: "Refused: {detail}",
  restarted: "Recognition in this browser crashed, and was started again.",
  engineFailed: "{detail} Start again, or reload the page.",
  settingRefused: "The setting was rejected: {detail}",
  frameRefused: "A frame was not recognised: {detail}",
  unreadable: "Unreadable picture: {detail}",
  warned: ({ warnings }) => warnings.map(detailIn).join("; "),
  noFaceFound: "No face found",
  noFaceInTheDark: "No face found: the picture is nearly black",
  large: "Larger than {mb} MB",
  noPreview: "The browser cannot show this format.",
  notPlayable: "This browser cannot play the video. Every frame of it can still be recognised on the server.",
  skipped: ({ n }) => `${count(n, "file", "files")} skipped: neither picture nor video`,
  nothingToSave: "There is nothing to save yet.",
  tokenTitle: "This service needs its token",
  tokenText: "It was set with --token or $MIEN_TOKEN where the service was started.",
  tokenWrong: "That token is wrong.",
  token: "Token",
  connect: "Connect",

  helpTitle: "Help",
  helpText: "Start the camera, drop pictures or open a video. Click a face, or its row in the table, to follow it. " +
    "The server keeps no picture; whole videos are deleted when you delete them, or after an hour.",
  keys: "Keyboard shortcuts",
  keysOn: "Enable keyboard shortcuts",
  keyStop: "Stop",
  keySave: "Save the picture",
  keyFaces: "Save the faces",
  keyStatistics: "Save the statistics",
  keyModel: "Next model",
  keyPause: "Pause or resume",
  keyHelp: "This help",
  keyPrevious: "Previous, next picture",
  space: "Space",
  version: "mien {version}",
  service: "API documentation",
  usingModel: "Model: {model}",

  labels: { uncertain: "uncertain" },
  problems: {}, // and warnings by code, see docs/guides/web.md; the service explains them in English
};

/** @type {typeof EN} */
const DE = {
  title: "mien: Erkennung von Gesichtsausdrücken",
  motto: "mien benennt den Ausdruck, den ein Gesicht zeigt, nicht was ein Mensch fühlt.",
  often: "Es irrt sich oft. Fragen Sie Menschen, bevor Sie sie filmen.",
  skip: "Zum Bild springen",
  modes: "Quelle",
  camera: "Kamera",
  pictures: "Bilder",
  videos: "Video",
  otherLanguage: "English",
  otherLanguageShort: "EN",
  theme: "Zwischen hell und dunkel wechseln",
  help: "Hilfe und Tasten",
  close: "Schließen",
  cancel: "Abbrechen",
  dismiss: "Ausblenden",

  cameraTitle: "Was zeigt Ihr Gesicht?",
  cameraText: "Starten Sie die Kamera: Jedes Gesicht bekommt einen Rahmen und den Namen seines Ausdrucks, viele Male " +
    "pro Sekunde.",
  picturesTitle: "Bilder hier ablegen",
  picturesText: "Oder eines einfügen, oder Dateien oder einen ganzen Ordner wählen.",
  videosTitle: "Video hier ablegen",
  videosText: "Spielen Sie es mit Live-Erkennung ab, oder verarbeiten Sie jedes Einzelbild und laden Sie die Ergebnisse herunter.",
  local: "Nichts verlässt diesen Computer.",
  remote: "Die Bilder gehen an {host} und werden dort nicht gespeichert.",
  start: "Kamera starten",
  stop: "Stopp",
  pause: "Pause",
  resume: "Weiter",
  play: "Abspielen",
  chooseCamera: "Kamera",
  unnamedCamera: "Kamera {number}",
  mirror: "Spiegeln",
  choosePictures: "Bilder wählen",
  chooseFiles: "Dateien",
  chooseFolder: "Ordner",
  example: "Beispiel",
  tryExample: "Beispiel ansehen",
  clear: "Leeren",
  chooseVideo: "Video wählen",
  position: "Position",
  wholeVideo: "Jedes Einzelbild",
  wholeVideoText: "Beim Abspielen fallen auf langsamen Rechnern Einzelbilder weg. Hier wird jedes verarbeitet, auf dem Server.",
  recogniseAll: "Jedes Einzelbild verarbeiten",
  uploading: "Hochladen: {percent} %",
  queued: "In der Warteschlange",
  running: ({ done, frames }) =>
    `Einzelbild ${done.toLocaleString("de")}${frames ? ` von ${frames.toLocaleString("de")}` : ""}`,
  jobDone: ({ warnings }) => ["Alle Einzelbilder sind erkannt.", ...warnings.map(detailIn)].join(" "),
  jobFailed: "Das Video konnte nicht erkannt werden: {detail}",
  progress: "Fortschritt",
  remove: "Vom Server löschen",
  annotatedVideo: "Video (MP4)",

  save: "Speichern",
  savePicture: "Bild",
  saveFaces: "Gesichter",
  saveCsv: "CSV",
  saveJsonl: "JSONL",
  saveStatistics: "Statistik",
  savePictureTip: "Das Bild mit seinen Rahmen (PNG)",
  saveFacesTip: "Jedes Gesicht als Bild (PNG)",
  saveCsvTip: "Tabelle für die Tabellenkalkulation: eine Zeile pro Gesicht",
  saveJsonlTip: "Eine Zeile JSON pro Einzelbild",
  saveStatisticsTip: "Anteile und zeitlicher Verlauf (JSON)",

  settings: "Einstellungen",
  model: "Modell",
  expressions: "Ausdrücke",
  expressionsOf: "{count} ({name})",
  detector: "Gesichter",
  auto: "das beste vorhandene",
  yunet: "genau (YuNet)",
  haar: "einfach (Haar)",
  whole: "ganzes Bild",
  detectorUsed: "in Gebrauch: {name}",
  detectorTip: "Haar findet aufrechte Gesichter von vorn; YuNet auch kleine, gedrehte und teils verdeckte.",
  threshold: "Unsicher unter",
  smoothing: "Glättung",
  temporal: "Mit einem zeitlichen Modell glätten",
  temporalTip: "Ein kleines rekurrentes Modell, an bewegten Gesichtern trainiert, statt der Halbwertszeit",
  off: "aus",
  seconds: "{value} s",
  where: "Erkennung ausführen",
  onServer: "auf dem Server",
  here: "in diesem Browser",

  face: "Gesicht",
  faces: "Gesichter",
  largest: "das größte",
  chosen: "gewählt",
  largestAgain: "Das größte zeigen",
  noFace: "Kein Gesicht",
  course: "Verlauf",
  courseOfAll: "Alle Gesichter",
  courseOfFace: "Gesicht {number}",
  tenSeconds: "10 s",
  wholeCourse: "Alles",
  courseLabel: "Wahrscheinlichkeiten im Verlauf, meist {label}",
  soFar: "Zeitanteile",
  number: "Nr.",
  expression: "Ausdruck",
  confidence: "Konfidenz",
  detectorScore: "Detektor",
  box: "Rahmen",
  showFace: "Gesicht {number} zeigen",
  gallery: "Bilder",
  stage: "Bild mit den gefundenen Gesichtern",

  nFaces: ({ n }) => (n ? count(n, "Gesicht", "Gesichter") : "kein Gesicht"),
  progressOfPictures: "{done} von {all}",
  streamSoFar: ({ frames, seconds, faces }) =>
    `${count(frames, "Einzelbild", "Einzelbilder")}, ${seconds} s, ${count(faces, "Gesicht", "Gesichter")}`,
  speed: "{fps} Bilder/s · {ms} ms",
  seen: ({ n, labels }) => (n ? `${count(n, "Gesicht", "Gesichter")}: ${labels}` : "Kein Gesicht"),
  picturesDone: ({ pictures, faces, failed }) =>
    `${count(pictures, "Bild", "Bilder")}, ${count(faces, "Gesicht", "Gesichter")}${failed ? `, ${failed} unlesbar` : ""}`,
  started: "Kamera läuft",
  stopped: "Gestoppt",
  paused: "Pause",
  saved: "{name} gespeichert",

  insecure: "Browser erlauben den Zugriff auf Kameras nur über https oder auf localhost. Starten Sie den Dienst mit --tls-cert und --tls-key, " +
    "oder leiten Sie seinen Port weiter: ssh -L {port}:localhost:{port} {host}, und öffnen Sie http://localhost:{port}.",
  cameraRefused: "Der Browser durfte die Kamera nicht benutzen. Erlauben Sie es in der Adresszeile und starten Sie neu.",
  cameraMissing: "Es wurde keine Kamera gefunden. Schließen Sie eine an; Bilder und Videos gehen auch ohne.",
  cameraBusy: "Ein anderes Programm benutzt die Kamera. Schließen Sie es und starten Sie neu.",
  cameraLost: "Die Kamera wurde getrennt.",
  cameraOther: "Die Kamera startete nicht: {detail}",
  loading: "Das Modell wird geladen …",
  slowStream: "Weniger als ein Bild pro Sekunde: Gesichter lassen sich nicht verfolgen, also wird nichts geglättet. " +
    "Ein kleineres Modell ist schneller.",
  serverGone: "Der Server antwortet nicht. Neuer Versuch …",
  serverBusy: "Der Server hat die Höchstzahl seiner Sitzungen erreicht. Neuer Versuch …",
  requestBusy: "Der Server ist beschäftigt. Neuer Versuch …",
  sessionRefused: "Abgelehnt: {detail}",
  restarted: "Die Erkennung in diesem Browser ist abgestürzt und wurde neu gestartet.",
  engineFailed: "{detail} Starten Sie neu, oder laden Sie die Seite neu.",
  settingRefused: "Die Einstellung wurde abgelehnt: {detail}",
  frameRefused: "Ein Einzelbild wurde nicht erkannt: {detail}",
  unreadable: "Unlesbares Bild: {detail}",
  warned: ({ warnings }) => warnings.map(detailIn).join(" "),
  noFaceFound: "Kein Gesicht gefunden",
  noFaceInTheDark: "Kein Gesicht gefunden: Das Bild ist fast schwarz",
  large: "Größer als {mb} MB",
  noPreview: "Der Browser kann dieses Format nicht zeigen.",
  notPlayable: "Dieser Browser kann das Video nicht abspielen. Auf dem Server lässt sich trotzdem jedes Einzelbild erkennen.",
  skipped: ({ n }) => `${count(n, "Datei", "Dateien")} übersprungen: weder Bild noch Video`,
  nothingToSave: "Es gibt noch nichts zu speichern.",
  tokenTitle: "Dieser Dienst verlangt sein Token",
  tokenText: "Es wurde mit --token oder $MIEN_TOKEN gesetzt, wo der Dienst gestartet wurde.",
  tokenWrong: "Dieses Token ist falsch.",
  token: "Token",
  connect: "Verbinden",

  helpTitle: "Hilfe",
  helpText: "Starten Sie die Kamera, legen Sie Bilder ab oder öffnen Sie ein Video. Klicken Sie auf ein Gesicht oder " +
    "seine Zeile in der Tabelle, um ihm zu folgen. Der Server behält kein Bild; ganze Videos löscht er, wenn Sie sie " +
    "löschen, oder nach einer Stunde.",
  keys: "Tastenkürzel",
  keysOn: "Tastenkürzel einschalten",
  keyStop: "Stopp",
  keySave: "Bild speichern",
  keyFaces: "Gesichter speichern",
  keyStatistics: "Statistik speichern",
  keyModel: "Nächstes Modell",
  keyPause: "Pause oder weiter",
  keyHelp: "Diese Hilfe",
  keyPrevious: "Voriges, nächstes Bild",
  space: "Leertaste",
  version: "mien {version}",
  service: "API-Dokumentation",
  usingModel: "Modell: {model}",

  labels: /** @type {any} */ ({ // adjectives, as of a face: nouns would name feelings
    angry: "wütend",
    contempt: "verächtlich",
    disgust: "angewidert",
    fear: "ängstlich",
    happy: "fröhlich",
    neutral: "neutral",
    sad: "traurig",
    surprise: "überrascht",
    uncertain: "unsicher",
  }),
  problems: /** @type {any} */ ({
    "foreign-origin": "Seiten von dieser Adresse dürfen den Dienst nicht benutzen (--allow-origin).",
    "foreign-host": "Unter diesem Namen kennt sich der Dienst nicht (--allow-host).",
    "not-found": "Das gibt es dort nicht mehr.",
    "too-slow": "Das Hochladen dauerte zu lange.",
    "not-done": "Das Video ist noch nicht erkannt.",
    "video-failed": "Das Video wurde nicht erkannt.",
    "too-large": "Die Datei ist zu groß.",
    "unsupported-content-type": "Dateien dieser Art nimmt er nicht an.",
    "unknown-model": "Dieses Modell gibt es dort nicht.",
    "unknown-labels": "Diese Ausdrücke hat das Modell nicht.",
    "unknown-detector": "Diesen Detektor gibt es dort nicht.",
    "unreadable-picture": "Es ist beschädigt, zu groß oder kein Bild.",
    "unreadable-video": "Es ist beschädigt oder kein Video.",
    "video-too-long": "Es ist zu lang oder zu groß.",
    "unwritable-image": "Es hat zu viele Pixel in einer Richtung für eine beschriftete Kopie.",
    "internal-error": "Interner Fehler; siehe das Protokoll des Dienstes.",
    busy: "Er ist beschäftigt.",
    loading: "Er lädt noch sein Modell.",
    ending: "Er wird gerade beendet.",
    "disk-full": "Kein Speicherplatz für das Video.",
    crashed: "Die Erkennung in diesem Browser ist zweimal abgestürzt.",
    "no-models": "Diese Seite hat keine Modelle für den Browser.",
    "not-loaded": "Die Erkennung in diesem Browser konnte nicht geladen werden.",
    "picture-shrunk": "Das Bild ist sehr groß und wird verkleinert gelesen.",
    "picture-cut": "Dem Bild fehlt das Ende, wie nach einem abgebrochenen Download.",
    "first-page": "Die Datei enthält mehrere Bilder; nur das erste wird gelesen.",
    "first-frame": "Das Bild ist bewegt; nur sein erstes Einzelbild wird gelesen.",
    "video-cut": "Das Video endet früher, als sein Anfang ankündigt; es ist abgeschnitten oder beschädigt.",
    "sound-cut": "Der Ton fehlt ganz oder zum Teil.",
    "frames-left-out": "Einzelbilder in ungleichen Abständen wurden im Video ausgelassen.",
    "gap-shortened": "Lange Pausen zwischen zwei Einzelbildern wurden im Video verkürzt.",
  }),
};

export const LANGUAGES = /** @type {Record<string, typeof EN>} */ ({ en: EN, de: DE });

/** Return the language of the page: the chosen one, else the browser's, else English. @returns {string} */
export function language() {
  const wanted = settings.language ?? navigator.language.slice(0, 2);
  return wanted in LANGUAGES ? wanted : "en";
}

/**
 * Return a text in the language of the page.
 *
 * @param {Exclude<keyof typeof EN, "labels" | "problems">} key
 * @param {Record<string, any>} [values]
 */
export function say(key, values = {}) {
  const text = /** @type {Text} */ (LANGUAGES[language()][key]);
  return typeof text === "function" ? text(values) : text.replaceAll(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** Return a number with so many decimals, as the language of the page writes it. @param {number} value @param {number} digits */
export function fixed(value, digits) {
  return value.toLocaleString(language(), { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Return the detail of a problem or warning in the language of the page, else in English. @param {{detail?: string, code?: ?string}} problem */
export function detailIn({ detail = "", code }) {
  const problems = /** @type {Record<string, string>} */ (LANGUAGES[language()].problems);
  return code && Object.hasOwn(problems, code) ? problems[code] : detail;
}

/** Return the name of an expression; labels of other models are as they are. @param {string} label */
export function labelName(label) {
  const labels = /** @type {Record<string, string>} */ (LANGUAGES[language()].labels);
  return Object.hasOwn(labels, label) ? labels[label] : label;
}

/** Return the everyday name of a detector: "Haar (alt)". @param {string} name */
export function detectorName(name) {
  const names = /** @type {Record<string, string>} */ ({ yunet: "YuNet", haar: "Haar", whole: say("whole") });
  return names[name] ?? name.replace(/^haar-(.*)/, "Haar ($1)");
}

/** Write the texts of a part of the document: data-word becomes its text, data-label its name, data-tip its title. */
export function writeWords(/** @type {ParentNode} */ root = document) {
  document.documentElement.lang = language();
  document.title = say("title");
  for (const [attribute, write] of /** @type {[string, (found: HTMLElement, text: string) => void][]} */ ([
    ["word", (found, text) => (found.textContent = text)],
    ["label", (found, text) => found.setAttribute("aria-label", text)],
    ["tip", (found, text) => (found.title = text)],
  ])) {
    for (const found of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll(`[data-${attribute}]`))) {
      write(found, say(/** @type {any} */ (found.dataset[attribute])));
    }
  }
}
