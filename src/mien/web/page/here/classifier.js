/**
 * Crops to probabilities, as `mien.models.classifier` computes them, from the same ONNX files.
 *
 * @typedef {object} Spec  of a model; the part of mien's that is needed here
 * @property {string} name
 * @property {{name: string, labels: string[], temperature: number}[]} heads
 * @property {{size: number, channels: number, equalize: boolean}} preprocess
 */

import { equalize, grey, resize } from "./pixels.js";
import { tensor } from "./runtime.js";

export class Classifier {
  #model;
  #spec;

  /** @param {import("./runtime.js").Model} model  that takes uint8 (n, H, W, C) and gives probabilities @param {Spec} spec */
  constructor(model, spec) {
    this.#model = model;
    this.#spec = spec;
  }

  /** Return the probabilities of each crop. @param {import("./pixels.js").Image[]} crops @param {string} head  name of a label set @returns {Promise<number[][]>} */
  async predict(crops, head) {
    if (!crops.length) return [];
    const { size, channels } = this.#spec.preprocess;
    const each = size * size * channels;
    const pixels = new Uint8Array(crops.length * each);
    for (const [i, image] of crops.entries()) pixels.set(this.#input(image), i * each);
    const { inputNames, outputNames } = this.#model;
    const output = outputNames.includes(head) ? head : outputNames[this.#spec.heads.findIndex(({ name }) => name === head)];
    const found = await this.#model.run({ [inputNames[0]]: tensor("uint8", pixels, [crops.length, size, size, channels]) }, [output]);
    const { data } = found[output], k = data.length / crops.length;
    return crops.map((_, i) => [...data.slice(i * k, (i + 1) * k)]);
  }

  /** @param {import("./pixels.js").Image} image */
  #input(image) {
    const { size, channels, equalize: isEqualized } = this.#spec.preprocess;
    if (channels === 1) {
      const small = resize(image.channels === 1 ? image : grey(image), size);
      return isEqualized ? equalize(small).data : small.data;
    }
    const { data } = resize(image, size), pixels = new Uint8Array(3 * size * size);
    for (let from = 0, to = 0; to < pixels.length; from += 4, to += 3) {
      pixels[to] = data[from];
      pixels[to + 1] = data[from + 1];
      pixels[to + 2] = data[from + 2];
    }
    return pixels;
  }
}
