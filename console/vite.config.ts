import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync } from "node:zlib";
import { defineConfig } from "vite";

// The program serves what is built here, compressed beforehand.
const compress = {
  name: "compress",
  closeBundle() {
    for (const folder of ["dist", "dist/assets"]) {
      for (const name of readdirSync(folder)) {
        if (/\.(html|js|css|svg)$/.test(name)) {
          writeFileSync(join(folder, `${name}.br`), brotliCompressSync(readFileSync(join(folder, name))));
        }
      }
    }
  },
};

export default defineConfig({
  // No file may be inlined: the policy of the pages forbids `data:`.
  build: { target: "es2022", assetsInlineLimit: 0, emptyOutDir: false, modulePreload: { polyfill: false } },
  plugins: [compress],
  server: { proxy: { "/api": "http://127.0.0.1:8081", "/login": "http://127.0.0.1:8081" } },
});
