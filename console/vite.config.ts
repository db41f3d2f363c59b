import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync } from "node:zlib";
import { defineConfig } from "vite";

/** What a first visit may load, compressed. */
const FIRST_LOAD_BYTES_MAX = 300 * 1024;

// The program serves what is built here, compressed beforehand.
const compress = {
  name: "compress",
  closeBundle() {
    let bytes = 0;
    for (const folder of ["dist", "dist/assets"]) {
      for (const name of readdirSync(folder)) {
        if (/\.(html|js|css|svg)$/.test(name)) {
          const small = brotliCompressSync(readFileSync(join(folder, name)));
          writeFileSync(join(folder, `${name}.br`), small);
          bytes += small.length;
        }
      }
    }
    if (bytes > FIRST_LOAD_BYTES_MAX) throw new Error(`the pages are ${bytes} bytes, compressed; a first visit may load ${FIRST_LOAD_BYTES_MAX}`);
  },
};

export default defineConfig({
  // No file may be inlined: the policy of the pages forbids `data:`.
  build: { target: "es2022", assetsInlineLimit: 0, emptyOutDir: false, modulePreload: { polyfill: false } },
  plugins: [compress],
  server: { proxy: { "/api": "http://127.0.0.1:8081", "/login": "http://127.0.0.1:8081" } },
});
