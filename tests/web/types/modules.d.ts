/** ONNX Runtime for browsers, which is not in the repository. */
declare module "*.min.mjs" {
  export const env: any;
  export const InferenceSession: any;
  export const Tensor: any;
}
